# SPDX-License-Identifier: Apache-2.0
"""Reconstructor: poses, map and updates of single frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import DEPTH_M, FOCAL, HEIGHT, WIDTH, FakeBackend, FakeState, frame, image, prediction

from ttt3r_ros.config import Config, from_mapping
from ttt3r_ros.errors import ImageError, NonFiniteError
from ttt3r_ros.geometry import rotation_from_quat_wxyz
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.types import Frame, Intrinsics, Prediction, UInt8Array


def reconstructor(**values: object) -> Reconstructor[FakeState]:
    config = from_mapping({name.replace("__", "."): value for name, value in values.items()})
    return Reconstructor(FakeBackend(), config)


def flat(value: int) -> Frame:
    return Frame(7, "camera", np.full((24, 32, 3), value, np.uint8))


@pytest.mark.parametrize("reset_interval", [0, 1, 3])
def test_a_forward_camera_moves_along_x_of_the_map(reset_interval: int) -> None:
    mapping = reconstructor(reset_interval=reset_interval)
    for k in range(6):
        T_map_camera = mapping.step(frame(k + 20)).T_map_camera
        np.testing.assert_allclose(T_map_camera[:3, 3], [k, 0, 0], atol=1e-12)
        np.testing.assert_allclose(T_map_camera[:3, 1], [0, 0, -1], atol=1e-12, err_msg="y points down")
    stamps_ns, poses = mapping.trajectory.poses()
    assert stamps_ns == [(k + 21) * 10**9 for k in range(6)]
    np.testing.assert_allclose(poses[:, :3], np.eye(3)[0] * np.arange(6)[:, None], atol=1e-12)
    forward = rotation_from_quat_wxyz(poses[0, [6, 3, 4, 5]]) @ (0, 0, 1)
    np.testing.assert_allclose(forward, [1, 0, 0], atol=1e-12)


def test_points_are_mapped_two_meters_in_front_of_each_pose() -> None:
    mapping = reconstructor(map__voxel_size=0.01)
    expected: set[float] = set()
    for k in range(3):
        mapping.step(frame(k + 20))
        expected.add(k + DEPTH_M)
    points = mapping.map.voxels.point_cloud().points
    assert set(np.round(points[:, 0], 5).tolist()) == expected
    assert points[:, 1].min() == pytest.approx(-(WIDTH // 2 - 1) * DEPTH_M / FOCAL), "right is -y"
    assert points[:, 1].max() == pytest.approx(WIDTH // 2 * DEPTH_M / FOCAL)
    assert points[:, 2].max() == pytest.approx(HEIGHT // 2 * DEPTH_M / FOCAL), "up is z"
    assert set(mapping.map.voxels.point_cloud().rgb.ravel().tolist()) == {200}


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_image_of_one_color_is_rejected_and_changes_nothing(value: int) -> None:
    mapping = reconstructor()
    mapping.step(frame(20))
    before = (mapping.session.state, len(mapping.map.voxels), len(mapping.trajectory))
    with pytest.raises(ImageError, match=rf"7.*{value} to {value}"):
        mapping.step(flat(value))
    assert (mapping.session.state, len(mapping.map.voxels), len(mapping.trajectory)) == before
    np.testing.assert_allclose(mapping.step(frame(21)).T_map_camera[:3, 3], [1, 0, 0], atol=1e-12)


def test_a_dim_image_is_accepted() -> None:
    dim = flat(3)
    dim.rgb[:, ::2] = 5
    assert reconstructor().step(dim).segment == 0


def test_a_frame_without_a_finite_prediction_changes_nothing() -> None:
    mapping = reconstructor()
    mapping.step(frame(20))
    voxels = len(mapping.map.voxels)
    with pytest.raises(NonFiniteError):
        mapping.step(frame(13))
    assert (len(mapping.map.voxels), len(mapping.trajectory)) == (voxels, 1)
    np.testing.assert_allclose(mapping.step(frame(21)).T_map_camera[:3, 3], [1, 0, 0], atol=1e-12)


class UncertainBackend(FakeBackend):
    """Has less confidence in the left half; the upper half is twenty meters away or behind the camera."""

    def step(self, rgb: UInt8Array, state: FakeState) -> tuple[Prediction, FakeState]:
        answer, next_state = super().step(rgb, state)
        answer.confidence[:, : WIDTH // 2] = 2.0
        answer.points_camera[: HEIGHT // 4, :, 2] = 20.0
        answer.points_camera[HEIGHT // 4 : HEIGHT // 2, :, 2] = -1.0
        return answer, next_state


def uncertain(**values: object) -> Reconstructor:
    settings = {"map.voxel_size": 0.01, **{name.replace("__", "."): v for name, v in values.items()}}
    return Reconstructor(UncertainBackend(), from_mapping(settings))


def integrate_uncertain(**values: object) -> np.ndarray:
    """Return the map's points in body axes (x ahead, y left, z up) after one frame of an uncertain backend."""
    mapping = uncertain(**values)
    mapping.step(frame(20))
    return mapping.map.voxels.point_cloud().points


def test_points_of_low_confidence_are_not_integrated() -> None:
    assert integrate_uncertain()[:, 1].max() > 0.5
    assert integrate_uncertain(map__min_confidence=2.5)[:, 1].max() == pytest.approx(0.0, abs=1e-6)
    assert len(integrate_uncertain(map__min_confidence=4.0)) == 0


def test_points_out_of_range_or_behind_the_camera_are_not_integrated() -> None:
    np.testing.assert_allclose(integrate_uncertain()[:, 0], DEPTH_M)
    assert sorted(set(integrate_uncertain(map__max_range=30.0)[:, 0].tolist())) == pytest.approx(
        [DEPTH_M, 20.0]
    )
    assert len(integrate_uncertain(map__max_range=1.0)) == 0


def test_an_update_has_the_fraction_of_pixels_in_the_map() -> None:
    assert uncertain().step(frame(20)).fused_fraction == 0.5
    assert uncertain(map__min_confidence=2.5).step(frame(20)).fused_fraction == 0.25
    assert uncertain(map__max_range=1.0).step(frame(20)).fused_fraction == 0.0


def test_given_intrinsics_are_scaled_to_the_image_of_the_network() -> None:
    given = Intrinsics(60.0, 62.0, 15.5, 11.5, 2 * WIDTH, 2 * HEIGHT, "plumb_bob", (0.1,))
    camera = reconstructor().step(frame(20, intrinsics=given)).intrinsics
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (30.0, 31.0, 7.5, 5.5)
    assert (camera.width, camera.height, camera.distortion) == (WIDTH, HEIGHT, (0.1,))


def test_without_intrinsics_the_focal_length_is_estimated() -> None:
    camera = reconstructor().step(frame(20)).intrinsics
    assert camera.fx == camera.fy == pytest.approx(FOCAL)


def test_a_reset_clears_state_trajectory_and_map() -> None:
    mapping = reconstructor(reset_interval=2)
    for k in range(5):
        mapping.step(frame(k + 20))
    assert mapping.segment_id == 2
    mapping.reset()
    assert (mapping.segment_id, len(mapping.trajectory), len(mapping.map.voxels)) == (0, 0, 0)
    np.testing.assert_allclose(mapping.step(frame(30)).T_map_camera[:3, 3], [0, 0, 0], atol=1e-12)


class ZoomBackend(FakeBackend):
    """Predicts the focal length that the image is marked with."""

    def step(self, rgb: UInt8Array, state: FakeState) -> tuple[Prediction, FakeState]:
        return prediction(focal=float(rgb[0, 0, 0])), FakeState(state.seen + 1)


def test_a_reset_clears_the_focal_length() -> None:
    mapping = Reconstructor(ZoomBackend(), Config())
    for _ in range(30):
        mapping.step(frame(40))
    assert mapping.step(frame(10)).intrinsics.fx == pytest.approx(40.0, rel=0.1)
    mapping.reset()
    assert mapping.step(frame(10)).intrinsics.fx == pytest.approx(10.0)


def test_an_update_has_timings_and_its_frame() -> None:
    class TimedBackend(FakeBackend):
        def step(self, rgb: UInt8Array, state: FakeState) -> tuple[Prediction, FakeState]:
            answer, next_state = super().step(rgb, state)
            return replace(answer, timings_s={"network": 0.25}), next_state

    shown = frame(20)
    update = Reconstructor(TimedBackend(), Config()).step(shown)
    assert update.frame is shown
    assert set(update.timings_s) == {"network", "step", "map"}
    assert update.timings_s["network"] == 0.25
    assert all(seconds >= 0 for seconds in update.timings_s.values())
    np.testing.assert_array_equal(shown.rgb, image(20))
