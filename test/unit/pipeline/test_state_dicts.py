# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: saving, loading and continuing; invalid ones change nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeBackend
from hypothesis import given
from hypothesis import strategies as st
from rendered_path import frames_of_path, network_poses, noise, path_shots

from ttt3r_ros.config import from_mapping
from ttt3r_ros.errors import OutputError, SourceError
from ttt3r_ros.io.state_file import read_state, write_state
from ttt3r_ros.odometry.sensor_context import SensorContext
from ttt3r_ros.odometry.visual_odometry import VisualOdometry
from ttt3r_ros.pipeline import checkpoint
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.slam.corrections import MapCorrection
from ttt3r_ros.state_dict import StateReader, flatten, pack_optional, unflatten

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ttt3r_ros.types import Frame

CONTINUED = ("session", "trajectory", "map")  # parts that a running session takes over as they are
SETTINGS = {
    "pose_source": "visual_odometry",
    "scale.source": "odometry",
    "level_source": "floor",
    "map.voxel_size": 0.2,
}


def reconstructor(frames: int = 0, **changes: object) -> Reconstructor[Any]:
    """Return a reconstructor with state in all components, after some frames of the path_shots."""
    mapping = Reconstructor(FakeBackend(), from_mapping({**SETTINGS, **changes}))
    for k, frame in enumerate(frames_of_path(frames, calibrated=False)):
        T_odom_base = np.eye(4)
        T_odom_base[0, 3] = 0.3 * k
        mapping.step(frame, SensorContext(T_odom_base=T_odom_base))
    return mapping


def assert_equal(one: Reconstructor[Any], other: Reconstructor[Any]) -> None:
    np.testing.assert_equal(checkpoint.state_dict(one), checkpoint.state_dict(other))


def test_a_checkpoint_survives_a_file_bit_by_bit(tmp_path: Path) -> None:
    original, loaded = reconstructor(6), reconstructor()
    write_state(tmp_path / "state.npz", {"reconstructor": checkpoint.state_dict(original)})
    checkpoint.load_state_dict(loaded, read_state(tmp_path / "state.npz")["reconstructor"])
    assert_equal(original, loaded)


def test_a_loaded_checkpoint_shares_no_array_with_its_source() -> None:
    original, loaded = reconstructor(4), reconstructor()
    state = checkpoint.state_dict(original)
    expected = checkpoint.state_dict(original)
    checkpoint.load_state_dict(loaded, state)
    for array in flatten(state).values():
        if array.flags.writeable and array.dtype.kind != "U":
            array.fill(0)
    np.testing.assert_equal(checkpoint.state_dict(original), expected)
    np.testing.assert_equal(checkpoint.state_dict(loaded), expected)


def test_there_is_no_checkpoint_before_the_first_frame() -> None:
    with pytest.raises(OutputError):
        checkpoint.state_dict(reconstructor())


def with_infinity(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    if changed.size and changed.dtype.kind == "f":
        changed.flat[0] = np.inf
    else:
        changed = changed.astype(object)
    return changed


DAMAGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "another type": lambda array: array.astype(np.complex64 if array.dtype.kind != "U" else "S4"),
    "another dimension": lambda array: np.stack((array, array))[None],
    "infinity": with_infinity,
}


def test_every_damaged_entry_is_refused_and_changes_nothing() -> None:
    arrays = flatten(checkpoint.state_dict(reconstructor(4)))
    loaded = reconstructor(3)
    before = checkpoint.state_dict(loaded)
    damaged = {
        f"{name}: {kind}": {**arrays, name: change(array)}
        for name, array in arrays.items()
        for kind, change in DAMAGES.items()
    }
    damaged.update(
        {f"{name}: missing": {n: a for n, a in arrays.items() if n != name} for name in arrays}
    )
    groups = {name.rpartition(".")[0] for name in arrays} | {""}
    damaged.update(
        {f"{group}.extra": {**arrays, f"{group}.extra".lstrip("."): np.zeros(1)} for group in groups}
    )
    accepted = []
    for name, state in damaged.items():
        try:
            checkpoint.load_state_dict(loaded, unflatten(state))
        except SourceError:
            np.testing.assert_equal(checkpoint.state_dict(loaded), before, err_msg=name)
        else:
            accepted.append(name)
            checkpoint.load_state_dict(loaded, before)
    assert accepted == []


def test_a_running_session_continues_a_map_with_its_own_odom() -> None:
    saved, running = reconstructor(4), reconstructor(2)
    T_map_base = saved.pose_integrator.T_map_base
    T_odom_base = checkpoint.state_dict(running)["pose_integrator"]["T_odom_base"]
    checkpoint.continue_map(running, checkpoint.state_dict(saved))
    assert running.pose_integrator.T_map_base == pytest.approx(T_map_base)
    after = checkpoint.state_dict(running)
    np.testing.assert_array_equal(after["pose_integrator"]["T_odom_base"], T_odom_base)
    for name in CONTINUED:
        np.testing.assert_equal(after[name], checkpoint.state_dict(saved)[name])
    assert running.scale_correction.scale == pytest.approx(saved.scale_correction.scale)


def test_a_continued_map_keeps_its_floor() -> None:
    """The floor of the replaced map has a height in another frame."""
    saved, running = reconstructor(4), reconstructor(2)
    saved.leveling.floor_z, running.leveling.floor_z = -0.5, 3.0
    checkpoint.continue_map(running, checkpoint.state_dict(saved))
    assert running.leveling.floor_z == -0.5


def test_pending_corrections_are_dropped_with_the_map_that_they_correct() -> None:
    state = checkpoint.state_dict(reconstructor(2))
    for load in (checkpoint.load_state_dict, checkpoint.continue_map):
        running = reconstructor(2)
        running.corrections.submit(MapCorrection(T_map_map=np.diag([-1.0, -1.0, 1.0, 1.0])))
        load(running, state)
        assert running.corrections.drain() == []


def test_a_map_without_one_of_its_parts_is_not_continued() -> None:
    saved, running = checkpoint.state_dict(reconstructor(4)), reconstructor(2)
    before = checkpoint.state_dict(running)
    for missing in (*CONTINUED, "pose_integrator", "scale_correction", "leveling"):
        state = {name: group for name, group in saved.items() if name != missing}
        with pytest.raises(SourceError):
            checkpoint.continue_map(running, state)
        np.testing.assert_equal(checkpoint.state_dict(running), before, err_msg=missing)


def test_a_map_of_other_weights_is_not_continued() -> None:
    state, running = checkpoint.state_dict(reconstructor(2)), reconstructor(2)
    state["session"]["weights_id"] = "others"
    with pytest.raises(SourceError, match="others"):
        checkpoint.continue_map(running, state)


def test_the_focal_length_of_each_camera_is_saved(tmp_path: Path) -> None:
    original, loaded = reconstructor(2), reconstructor()
    for name in ("a.b/c", "", "d"):
        original.step(_of_camera(name))
    write_state(tmp_path / "state.npz", checkpoint.state_dict(original))
    checkpoint.load_state_dict(loaded, read_state(tmp_path / "state.npz"))
    assert_equal(original, loaded)


def _of_camera(name: str) -> Frame:
    return replace(frames_of_path(1, calibrated=False)[0], camera_frame=name, stamp_ns=10**12)


def test_the_odometry_saves_one_image_and_its_landmarks() -> None:
    odometry = VisualOdometry()
    for shot, T_world_network in zip(path_shots()[:3], network_poses(), strict=False):
        odometry.step(shot.prediction, T_world_network, shot.intrinsics)
    size = sum(array.nbytes for array in flatten(odometry.state_dict()).values())
    assert size < path_shots()[0].depth.size + 300 * (2 * 4 + 8 * 8) + 500


@given(
    st.recursive(
        st.one_of(
            st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text("ab/ é", max_size=5)
        ),
        lambda values: st.dictionaries(
            st.text("abc_", min_size=1, max_size=3), values, min_size=1, max_size=3
        ),
        max_leaves=8,
    ).filter(lambda value: isinstance(value, dict))
)
def test_nested_states_are_flattened_and_restored(state: dict[str, Any]) -> None:
    np.testing.assert_equal(unflatten(flatten(state)), state)


def test_a_name_cannot_be_both_a_group_and_an_array() -> None:
    for names in (("a", "a.b"), ("a.b", "a")):
        with pytest.raises(SourceError):
            unflatten({name: np.zeros(1) for name in names})


def test_optional_values_are_arrays_of_at_most_one() -> None:
    read = StateReader(
        {
            "none": pack_optional(None, np.int64, ()),
            "one": pack_optional(5, np.int64, ()),
            "two": np.zeros(2, np.int64),
        },
        "test",
    )
    assert read.optional("none", np.int64, ()) is None
    assert read.optional("one", np.int64, ()) == 5
    with pytest.raises(SourceError):
        read.optional("two", np.int64, ())


def test_state_files_of_other_versions_or_contents_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    for arrays in ({"format": 1}, {"version": 1}, {"version": np.array([2])}, {"version": 2.0}, {}):
        np.savez(path, **arrays)
        with pytest.raises(SourceError, match=r"state\.npz"):
            read_state(path)
    path.write_bytes(noise(0).tobytes())
    with pytest.raises(SourceError, match=r"state\.npz"):
        read_state(path)


@pytest.mark.filterwarnings(
    "ignore::UserWarning"
)  # a damaged directory of the ZIP file has duplicate names
def test_a_state_file_with_one_damaged_byte_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    write_state(path, {"group": {"array": np.arange(3.0)}, "count": 3})
    content = path.read_bytes()
    for position in range(len(content)):
        for value in (content[position] ^ 1, content[position] ^ 8, 255):
            path.write_bytes(content[:position] + bytes([value]) + content[position + 1 :])
            with suppress(SourceError):
                read_state(path)
