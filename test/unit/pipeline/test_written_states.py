# SPDX-License-Identifier: Apache-2.0
"""Every state that can be written can be read, and reading restores it to the last bit."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fakes import FakeBackend, frame
from hypothesis import given, settings
from hypothesis import strategies as st

from ttt3r_ros.config import from_mapping
from ttt3r_ros.errors import ImageError
from ttt3r_ros.geometry import T_BODY_OPTICAL, pose_matrix
from ttt3r_ros.images.stamp_filter import StampFilter
from ttt3r_ros.io.state_file import read_state, write_state
from ttt3r_ros.mapping.submaps import SubmapCollection
from ttt3r_ros.mapping.voxel_map import VoxelMap
from ttt3r_ros.odometry.covariance import OdometryCovariance
from ttt3r_ros.odometry.scale_estimation import OdometryScaleEstimator, ScaleEstimator
from ttt3r_ros.odometry.sensor_context import SensorContext
from ttt3r_ros.pipeline import checkpoint
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.pipeline.rig import Rig
from ttt3r_ros.slam.corrections import MapCorrection
from ttt3r_ros.types import Intrinsics

if TYPE_CHECKING:
    from ttt3r_ros.state_dict import Stateful

CAMERA = Intrinsics(40.0, 40.0, 39.5, 27.5, 80, 56)
VOXEL_SIZE_M, MAX_VOXELS = 0.1, 60

seeds = st.integers(0, 2**32 - 1)
poses = st.tuples(*[st.floats(-1e3, 1e3)] * 3, *[st.floats(-1.0, 1.0)] * 3).map(
    lambda row: pose_matrix(np.array([*row[:3], 1.0, *row[3:]]))
)


def write_and_read(state: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        write_state(Path(folder) / "state.npz", state)
        return read_state(Path(folder) / "state.npz")


def assert_readable(written: Stateful, read: Stateful) -> None:
    read.load_state_dict(write_and_read({"state": written.state_dict()}).get("state", {}))
    np.testing.assert_equal(read.state_dict(), written.state_dict())


# --- map --------------------------------------------------------------------------------------------

observations = st.tuples(
    seeds,
    st.sampled_from([0.3, 30.0, 1e5, 1e9]),  # extent [m]; the last ones exceed the grid of voxels
    st.sampled_from([(0, 1), (0, 256), (255, 256)]),  # range of the colors
    st.sampled_from([1e-30, 1.0, 1000.0, 1e9]),  # largest weight
    st.integers(-(2**62), 2**62),  # stamp [ns]
)


def integrate(voxels: SubmapCollection | VoxelMap, observation: tuple[Any, ...]) -> None:
    seed, extent, colors, weight, stamp_ns = observation
    rng = np.random.default_rng(seed)
    points = rng.uniform(-extent, extent, (40, 3)).astype(np.float32)
    rgb = rng.integers(*colors, (40, 3)).astype(np.uint8)
    weights = rng.uniform(weight / 10, weight, 40).astype(np.float32)
    voxels.integrate(points, rgb, weights, stamp_ns)


operations = st.one_of(
    st.tuples(st.just("integrate"), observations),
    st.tuples(st.just("integrate"), observations),
    st.tuples(st.just("start_submap"), poses),
    st.tuples(st.just("set_pose"), poses),
    st.tuples(st.just("transform"), poses),
    st.tuples(st.just("carve"), st.just(None)),
    st.tuples(st.just("evict"), st.floats(0.01, 10.0)),
    st.tuples(st.just("clear"), st.just(None)),
)


def apply(voxels: SubmapCollection, operation: str, value: Any) -> None:
    if operation == "integrate":
        integrate(voxels, value)
    elif operation == "start_submap":
        voxels.start_submap(value)
    elif operation == "set_pose":
        voxels.set_submap_poses({len(voxels.submaps) // 2: value})
    elif operation == "transform":
        voxels.transform(value)
    elif operation == "carve":
        voxels.carve_free_space(np.full((56, 80), 5.0, np.float32), CAMERA, T_BODY_OPTICAL)
    elif operation == "evict":
        voxels.evict(np.zeros(3), max_radius=value)
    else:
        voxels.clear()


@given(st.lists(operations, max_size=12))
@settings(max_examples=80, deadline=None)
def test_every_map_can_be_read(history: list[tuple[str, Any]]) -> None:
    """Also empty ones, full ones, those with black or saturated colors, and those after corrections."""
    voxels = SubmapCollection(VOXEL_SIZE_M, MAX_VOXELS)
    for operation, value in history:
        apply(voxels, operation, value)
    read = SubmapCollection(VOXEL_SIZE_M, MAX_VOXELS)
    assert_readable(voxels, read)
    np.testing.assert_array_equal(read.point_cloud().points, voxels.point_cloud().points)
    np.testing.assert_array_equal(read.point_cloud().rgb, voxels.point_cloud().rgb)


def test_weighted_means_of_saturated_colors_exceed_255_and_can_be_read() -> None:
    voxel_map = VoxelMap(VOXEL_SIZE_M, 1000)
    points = np.full((500, 3), 0.05, np.float32)
    points[:, 0] += np.arange(500, dtype=np.float32)
    weights = np.random.default_rng(0).uniform(1.0, 1000.0, 500).astype(np.float32)
    voxel_map.integrate(points, np.full((500, 3), 255, np.uint8), weights)
    assert voxel_map.state_dict()["mean"][:, 3:].max() > 255.0
    read = VoxelMap(VOXEL_SIZE_M, 1000)
    assert_readable(voxel_map, read)
    assert (read.point_cloud().rgb == 255).all()


# --- estimators -------------------------------------------------------------------------------------

ratios = st.one_of(st.floats(0.01, 100.0), st.sampled_from([0.0, np.inf, np.nan, 1e-9, 1e9]))


@given(st.lists(st.tuples(st.booleans(), ratios), max_size=30))
@settings(max_examples=80, deadline=None)
def test_every_scale_can_be_read(history: list[tuple[bool, float]]) -> None:
    estimator = ScaleEstimator(0.05)
    for is_reset, ratio in history:
        (estimator.on_state_reset if is_reset else estimator.update)(ratio)
    assert_readable(estimator, ScaleEstimator(0.05))


@given(st.lists(st.tuples(poses, poses, st.integers(0, 2)), max_size=8))
@settings(max_examples=30, deadline=None)
def test_every_anchor_of_external_odometry_can_be_read(
    history: list[tuple[np.ndarray, np.ndarray, int]],
) -> None:
    estimator = OdometryScaleEstimator(0.1)
    for T_ext_odom_base, T_odom_base, segment in history:
        estimator.update(T_ext_odom_base, T_odom_base, segment)
    assert_readable(estimator, OdometryScaleEstimator(0.1))


@given(st.lists(st.tuples(st.integers(0, 2**62), poses, st.floats(0.0, 1e9)), max_size=20))
@settings(max_examples=30, deadline=None)
def test_every_covariance_can_be_read(history: list[tuple[int, np.ndarray, float]]) -> None:
    covariance = OdometryCovariance(0.05, 0.05)
    for stamp_ns, T_step, confidence in history:
        covariance.update(stamp_ns, T_step, T_step, confidence, after_reset=stamp_ns % 2 == 0)
    assert_readable(covariance, OdometryCovariance(0.05, 0.05))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=12))
@settings(max_examples=100, deadline=None)
def test_every_stamp_filter_can_be_read(stamps_ns: list[int]) -> None:
    stamp_filter = StampFilter()
    for stamp_ns in stamps_ns:
        with suppress(ImageError):
            stamp_filter.accept(stamp_ns)
    assert_readable(stamp_filter, StampFilter())


def test_a_stamp_filter_after_jumps_of_centuries_can_be_read() -> None:
    stamp_filter = StampFilter()
    for stamp_ns in (-(2**63), -(2**62), 0, 2**62):
        with suppress(ImageError):
            stamp_filter.accept(stamp_ns)
    assert_readable(stamp_filter, StampFilter())


# --- reconstructor ----------------------------------------------------------------------------------

SETTINGS = {"map.voxel_size": 0.2, "level_source": "floor", "reset_interval": 3}
events = st.one_of(
    st.tuples(st.just("step"), st.integers(1, 3)),
    st.tuples(st.just("step"), st.integers(1, 3)),
    st.tuples(st.just("start_submap"), poses),
    st.tuples(st.just("move_keyframe"), poses),
    st.tuples(st.just("move_map"), poses),
    st.tuples(st.just("relocalize"), poses),
    st.tuples(st.just("reset"), st.booleans()),
    st.tuples(st.just("reset_state"), st.just(None)),
)


class Recording:
    """Applies events to a reconstructor; frame numbers increase."""

    def __init__(self, reconstructor: Reconstructor[Any]) -> None:
        self.reconstructor = reconstructor
        self.frames = 0

    def apply(self, event: str, value: Any) -> None:
        reconstructor, trajectory = self.reconstructor, self.reconstructor.trajectory
        if event == "step":
            for _ in range(value):
                camera = ("left", "right")[self.frames % 2]
                shown = replace(frame(20 + self.frames), camera_frame=camera)
                reconstructor.step(shown, SensorContext(T_base_camera=np.eye(4)))
                self.frames += 1
        elif event == "start_submap":
            trajectory.add_keyframe(value)
            reconstructor.map.voxels.start_submap(value)
        elif event == "move_keyframe":
            revision, keyframe_poses = trajectory.keyframes()
            submap_id = len(reconstructor.map.voxels.submaps) // 2
            moved = {len(keyframe_poses) // 2: value}
            correction = MapCorrection(
                keyframe_poses=moved, submap_poses={submap_id: value}, revision=revision
            )
            assert reconstructor.apply(correction)
        elif event == "move_map":
            reconstructor.apply(MapCorrection(T_map_map=value))
        elif event == "relocalize":
            reconstructor.apply(MapCorrection(T_map_base=value))
        elif event == "reset":
            reconstructor.reset(reset_odom=value)
        else:
            reconstructor.reset_state()


@given(st.lists(events, max_size=8), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_reconstructor_can_be_read_and_continues(
    history: list[tuple[str, Any]], is_rig: bool
) -> None:
    def create() -> Recording:
        if is_rig:
            return Recording(Rig(FakeBackend(), from_mapping({**SETTINGS, "rig": True})))
        return Recording(Reconstructor(FakeBackend(), from_mapping(SETTINGS)))

    original, loaded = create(), create()
    for event, value in [("step", 1), *history]:
        original.apply(event, value)
    if original.reconstructor.pose_integrator.T_map_base is None:  # reset with odom
        original.apply("step", 1)
    state = write_and_read(checkpoint.state_dict(original.reconstructor))
    checkpoint.load_state_dict(loaded.reconstructor, state)
    loaded.frames = original.frames
    for recording in (original, loaded):
        recording.apply("step", 2)
    np.testing.assert_equal(
        checkpoint.state_dict(loaded.reconstructor), checkpoint.state_dict(original.reconstructor)
    )
