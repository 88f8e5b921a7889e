# SPDX-License-Identifier: Apache-2.0
"""Corrections of the map: values, their queue, and their application between frames."""

from __future__ import annotations

import threading
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import FakeBackend, FakeState, frame

from ttt3r_ros.config import from_mapping
from ttt3r_ros.geometry import pose_matrix, pose_matrix_xyzw, transform
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.slam.corrections import CorrectionQueue, MapCorrection

if TYPE_CHECKING:
    from collections.abc import Mapping

T_CORRECTION = pose_matrix(np.array([4.0, -1.0, 0.5, 1.0, 0.0, 0.0, 1.0]))  # 90 degrees about z


def mapper(frames: int = 3) -> Reconstructor[FakeState]:
    reconstructor = Reconstructor(FakeBackend(), from_mapping({"map.voxel_size": 0.05}))
    for k in range(frames):
        reconstructor.step(frame(k + 20))
    return reconstructor


def with_two_submaps() -> Reconstructor[FakeState]:
    """Frames 0 to 2 belong to keyframe and submap 0, frames 3 to 5 to keyframe and submap 1."""
    reconstructor = mapper()
    start_submap(reconstructor)
    for k in range(3, 6):
        reconstructor.step(frame(k + 20))
    return reconstructor


def start_submap(reconstructor: Reconstructor[FakeState]) -> None:
    T_map_keyframe = pose_matrix_xyzw(reconstructor.trajectory.poses()[1][-1])
    reconstructor.trajectory.add_keyframe(T_map_keyframe)
    reconstructor.map.voxels.start_submap(T_map_keyframe)


def poses(reconstructor: Reconstructor[FakeState]) -> np.ndarray:
    return pose_matrix_xyzw(reconstructor.trajectory.poses()[1])


def sort_points(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(np.round(points, 3).T)]


def cloud(reconstructor: Reconstructor[FakeState]) -> np.ndarray:
    return sort_points(reconstructor.map.voxels.point_cloud().points)


# --- values -----------------------------------------------------------------------------------------


def test_a_correction_is_immutable() -> None:
    T = np.eye(4)
    correction = MapCorrection(T_map_base=T, keyframe_poses={0: T}, revision=0)
    T[0, 3] = 1.0
    np.testing.assert_array_equal(correction.T_map_base, np.eye(4))
    with pytest.raises(FrozenInstanceError):
        correction.T_map_base = T  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        correction.keyframe_poses[0][0, 3] = 1.0
    with pytest.raises(TypeError):
        correction.keyframe_poses[1] = T  # type: ignore[index]


def test_a_correction_needs_rigid_poses() -> None:
    """Poses of another kind would make a map that can be written but not read."""
    flat, scaled, mirrored, projective = np.eye(3), np.eye(4), np.eye(4), np.eye(4)
    scaled[:3, :3] *= 1.1
    mirrored[2, 2] = -1.0
    projective[3, 3] = 1.0 + 1e-9
    for T in (flat, np.full((4, 4), np.nan), scaled, mirrored, projective):
        for poses in (
            {"T_map_map": T},
            {"T_map_base": T},
            {"keyframe_poses": {0: T}},
            {"submap_poses": {0: T}},
        ):
            with pytest.raises(ValueError, match=str(T[0].tolist()[0])):
                MapCorrection(**poses, revision=0)


def test_poses_by_id_need_a_revision_and_exclude_a_motion_of_the_map() -> None:
    for name in ("keyframe_poses", "submap_poses"):
        with pytest.raises(ValueError, match="revision"):
            MapCorrection(**{name: {0: np.eye(4)}})
        with pytest.raises(ValueError, match=name):
            MapCorrection(**{name: {0: np.eye(4)}}, T_map_map=np.eye(4), revision=0)


def test_the_queue_returns_each_correction_once_and_in_order() -> None:
    queue, corrections = CorrectionQueue(), [MapCorrection(revision=k) for k in range(400)]
    drained: list[MapCorrection] = []
    writer = threading.Thread(target=lambda: [queue.submit(entry) for entry in corrections])
    writer.start()
    while writer.is_alive():
        drained += queue.drain()
    writer.join()
    drained += queue.drain()
    assert [entry.revision for entry in drained] == list(range(400))
    assert queue.drain() == []


# --- application ------------------------------------------------------------------------------------


def test_a_rigid_correction_moves_trajectory_voxels_and_odom_together() -> None:
    reference, corrected = mapper(6), mapper(3)
    corrected.corrections.submit(MapCorrection(T_map_map=T_CORRECTION))
    for k in range(3, 6):
        update = corrected.step(frame(k + 20))
    np.testing.assert_allclose(poses(corrected), T_CORRECTION @ poses(reference), atol=1e-12)
    np.testing.assert_allclose(update.T_map_odom, T_CORRECTION, atol=1e-12)
    expected = transform(T_CORRECTION, cloud(reference))
    distances = np.linalg.norm(cloud(corrected)[:, None] - expected[None], axis=2)
    assert distances.min(axis=0).max() < 0.05
    assert distances.min(axis=1).max() < 0.05


def test_a_correction_clears_the_grid_and_moves_the_floor() -> None:
    reconstructor = mapper()
    reconstructor.leveling.floor_z = -1.0
    reconstructor.step(frame(23))
    assert reconstructor.map.grid.to_grid() is not None
    before = reconstructor.leveling.floor_z
    assert reconstructor.apply(MapCorrection(T_map_map=T_CORRECTION))
    assert reconstructor.map.grid.to_grid() is None
    assert reconstructor.leveling.floor_z == pytest.approx(before + 0.5)


def test_a_correction_submitted_during_a_frame_is_applied_after_it() -> None:
    inferring, submitted = threading.Event(), threading.Event()

    class WaitingBackend(FakeBackend):
        def step(self, *args, **kwargs):
            inferring.set()
            assert submitted.wait(10.0)
            return super().step(*args, **kwargs)

    reconstructor = Reconstructor(WaitingBackend(), from_mapping({}))

    def submit() -> None:
        assert inferring.wait(10.0)
        reconstructor.corrections.submit(MapCorrection(T_map_map=T_CORRECTION))
        submitted.set()

    back_end = threading.Thread(target=submit)
    back_end.start()
    reconstructor.step(frame(20))
    back_end.join()
    after = reconstructor.step(frame(21))
    np.testing.assert_allclose(after.T_map_odom, T_CORRECTION, atol=1e-12)


def test_a_correction_moves_older_keyframes_and_submaps_only_if_listed() -> None:
    reconstructor = with_two_submaps()
    before, voxels = poses(reconstructor), cloud(reconstructor)
    submap = reconstructor.map.voxels.submaps[0].voxels.point_cloud().points
    revision, keyframe_poses = reconstructor.trajectory.keyframes()
    new_poses = {0: T_CORRECTION, 1: keyframe_poses[1]}
    reconstructor.corrections.submit(
        MapCorrection(keyframe_poses=new_poses, submap_poses=new_poses, revision=revision)
    )
    reconstructor.apply_corrections()
    np.testing.assert_allclose(poses(reconstructor)[:3], T_CORRECTION @ before[:3], atol=1e-12)
    np.testing.assert_array_equal(poses(reconstructor)[3:], before[3:])
    np.testing.assert_allclose(reconstructor.pose_integrator.T_map_odom, np.eye(4), atol=1e-12)
    moved = cloud(reconstructor)
    assert len(moved) >= len(voxels)
    distances = np.linalg.norm(moved[None] - transform(T_CORRECTION, submap)[:, None], axis=2)
    assert distances.min(axis=1).max() < 0.05


def test_frames_continue_from_the_corrected_newest_keyframe() -> None:
    reference, corrected = with_two_submaps(), with_two_submaps()
    revision, keyframe_poses = corrected.trajectory.keyframes()
    new_poses = {1: T_CORRECTION @ keyframe_poses[1]}
    corrected.corrections.submit(
        MapCorrection(keyframe_poses=new_poses, submap_poses=new_poses, revision=revision)
    )
    for reconstructor in (reference, corrected):
        reconstructor.step(frame(26))
    found, expected = poses(corrected), poses(reference)
    np.testing.assert_allclose(found[:3], expected[:3], atol=1e-12)
    np.testing.assert_allclose(found[3:], T_CORRECTION @ expected[3:], atol=1e-12)
    np.testing.assert_array_equal(
        corrected.map.voxels.submaps[0].voxels.point_cloud().points,
        reference.map.voxels.submaps[0].voxels.point_cloud().points,
    )


def test_keyframes_added_during_the_optimization_move_with_the_newest_corrected() -> None:
    reference, corrected = with_two_submaps(), mapper()
    revision, _ = corrected.trajectory.keyframes()  # the back end starts to optimize
    start_submap(corrected)
    for k in range(3, 6):
        corrected.step(frame(k + 20))
    corrected.corrections.submit(
        MapCorrection(
            keyframe_poses={0: T_CORRECTION}, submap_poses={0: T_CORRECTION}, revision=revision
        )
    )
    for reconstructor in (reference, corrected):
        update = reconstructor.step(frame(26))
    np.testing.assert_allclose(poses(corrected), T_CORRECTION @ poses(reference), atol=1e-12)
    np.testing.assert_allclose(update.T_map_odom, T_CORRECTION, atol=1e-12)
    expected = transform(T_CORRECTION, cloud(reference))
    distances = np.linalg.norm(cloud(corrected)[:, None] - expected[None], axis=2)
    assert distances.min(axis=0).max() < 0.05


def test_relocalization_moves_odom_only() -> None:
    reconstructor = mapper()
    before, voxels = poses(reconstructor), cloud(reconstructor)
    reconstructor.corrections.submit(MapCorrection(T_map_base=T_CORRECTION))
    reconstructor.apply_corrections()
    T_map_base = reconstructor.pose_integrator.T_map_base
    assert T_map_base is not None
    np.testing.assert_allclose(T_map_base, T_CORRECTION, atol=1e-12)
    np.testing.assert_array_equal(poses(reconstructor), before)
    np.testing.assert_array_equal(cloud(reconstructor), voxels)


def test_a_correction_of_an_earlier_revision_is_dropped() -> None:
    def clear(reconstructor: Reconstructor[FakeState]) -> None:
        reconstructor.reset()
        reconstructor.step(frame(30))

    def level(reconstructor: Reconstructor[FakeState]) -> None:
        reconstructor.apply(MapCorrection(T_map_map=T_CORRECTION))

    for change in (clear, level):
        reconstructor = mapper()
        revision, _ = reconstructor.trajectory.keyframes()
        change(reconstructor)
        before = poses(reconstructor)
        assert not reconstructor.apply(MapCorrection(T_map_map=T_CORRECTION, revision=revision))
        np.testing.assert_array_equal(poses(reconstructor), before)


def test_a_correction_of_an_unknown_submap_or_keyframe_changes_nothing() -> None:
    reconstructor = mapper()
    before, (revision, _) = poses(reconstructor), reconstructor.trajectory.keyframes()
    known = {0: T_CORRECTION}
    for keyframe_poses, submap_poses in ((known, {7: T_CORRECTION}), ({7: T_CORRECTION}, known)):
        with pytest.raises(KeyError, match="7"):
            reconstructor.apply(
                MapCorrection(
                    keyframe_poses=keyframe_poses, submap_poses=submap_poses, revision=revision
                )
            )
        np.testing.assert_array_equal(poses(reconstructor), before)
        np.testing.assert_array_equal(reconstructor.map.voxels.active.T_map_submap, np.eye(4))


def test_a_reader_of_the_new_revision_gets_the_new_submap_poses() -> None:
    """A back end that starts from new keyframe poses and old submap poses would apply a correction twice."""
    reconstructor = with_two_submaps()
    revision, _ = reconstructor.trajectory.keyframes()
    seen = []
    set_keyframe_poses = reconstructor.trajectory.set_keyframe_poses

    def read_first(new_poses: Mapping[int, np.ndarray]) -> None:
        seen.append(reconstructor.map.voxels.submaps[0].T_map_submap)
        set_keyframe_poses(new_poses)

    reconstructor.trajectory.set_keyframe_poses = read_first  # type: ignore[method-assign]
    new_poses = {0: T_CORRECTION}
    reconstructor.apply(
        MapCorrection(keyframe_poses=new_poses, submap_poses=new_poses, revision=revision)
    )
    np.testing.assert_array_equal(seen, [T_CORRECTION])


def test_a_synthetic_loop_is_closed_by_keyframe_and_submap_poses() -> None:
    """Drift is added to the second half of a straight path; the true keyframe pose removes it."""
    reference, drifted = with_two_submaps(), mapper()
    T_true = pose_matrix_xyzw(drifted.trajectory.poses()[1][-1])
    drifted.apply(MapCorrection(T_map_base=T_CORRECTION @ drifted.pose_integrator.T_map_base))
    T_drifted = T_CORRECTION @ T_true
    drifted.trajectory.add_keyframe(T_drifted)
    drifted.map.voxels.start_submap(T_drifted)
    for k in range(3, 6):
        drifted.step(frame(k + 20))
    assert np.abs(poses(drifted)[-1] - poses(reference)[-1]).max() > 1.0
    revision, _ = drifted.trajectory.keyframes()
    drifted.corrections.submit(
        MapCorrection(keyframe_poses={1: T_true}, submap_poses={1: T_true}, revision=revision)
    )
    drifted.apply_corrections()
    np.testing.assert_allclose(poses(drifted), poses(reference), atol=1e-9)
    np.testing.assert_allclose(drifted.pose_integrator.T_map_odom, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(cloud(drifted), cloud(reference), atol=0.05)
