# SPDX-License-Identifier: Apache-2.0
"""Transforms at any stamp over any chain of frames."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ttt3r_ros.geometry import so3_exp
from ttt3r_ros.io.bags.transforms import BagTransforms, RecordedTransform
from ttt3r_ros.ros.transform_buffer import KEEP_NS, TransformBuffer
from ttt3r_ros.transforms.tree import TransformError, TransformTree

SECOND = 10**9


def motion(x: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    T[0, 3] = x
    T[:3, :3] = so3_exp(np.array([0.0, 0.0, yaw]))
    return T


def robot() -> TransformBuffer:
    """A base that drives one meter per second, with a mast and a camera on it."""
    buffer = TransformBuffer()
    for second in range(5):
        buffer.add("odom", "base", motion(float(second)), second * SECOND)
    buffer.add("base", "mast", motion(0.5, np.pi / 2), None)
    buffer.add("mast", "camera", motion(0.1), None)
    return buffer


def test_a_chain_over_fixed_and_moving_links_is_interpolated_at_the_stamp() -> None:
    T = robot().lookup("odom", "camera", int(2.5 * SECOND))
    np.testing.assert_allclose(T[:3, 3], [2.5 + 0.5, 0.1, 0.0], atol=1e-12)


def test_the_way_back_is_the_inverse() -> None:
    buffer = robot()
    T = buffer.lookup("odom", "camera", SECOND) @ buffer.lookup("camera", "odom", SECOND)
    np.testing.assert_allclose(T, np.eye(4), atol=1e-12)


def test_frames_on_two_branches_meet_at_their_common_ancestor() -> None:
    buffer = robot()
    buffer.add("base", "imu", motion(-1.0), None)
    np.testing.assert_allclose(
        buffer.lookup("imu", "mast", 99 * SECOND), motion(1.5, np.pi / 2), atol=1e-12
    )


def test_without_a_stamp_the_latest_is_returned() -> None:
    assert robot().lookup("odom", "base", None)[0, 3] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("target", "source", "stamp_ns", "why"),
    [
        ("odom", "base", 6 * SECOND, r"odom -> base .* newest is 2\.000 s off"),
        ("odom", "base", -SECOND, r"oldest is 1\.000 s off"),
        ("map", "base", SECOND, r"map is not published"),
        ("odom", "lidar", SECOND, r"lidar is not published"),
    ],
)
def test_a_missing_link_is_named(target: str, source: str, stamp_ns: int, why: str) -> None:
    with pytest.raises(TransformError, match=why):
        robot().lookup(target, source, stamp_ns)


def test_a_lookup_waits_for_later_transforms() -> None:
    buffer = robot()
    later = threading.Timer(0.05, buffer.add, ("odom", "base", motion(6.0), 6 * SECOND))
    later.start()
    T = buffer.lookup("odom", "base", int(5.0 * SECOND), wait_s=20.0)
    later.join()
    assert T[0, 3] == pytest.approx(5.0)


def test_transforms_that_come_in_any_order_are_put_in_order() -> None:
    buffer = TransformBuffer()
    for second in (3, 1, 2):
        buffer.add("a", "b", motion(float(second)), second * SECOND)
    assert buffer.lookup("a", "b", int(1.5 * SECOND))[0, 3] == pytest.approx(1.5)


def test_when_time_goes_back_dynamic_transforms_are_removed_and_static_ones_stay() -> None:
    buffer = robot()
    buffer.clear()
    with pytest.raises(TransformError):
        buffer.lookup("odom", "base", SECOND)
    assert buffer.lookup("base", "camera", SECOND)[1, 3] == pytest.approx(0.1)


def test_the_root_of_a_tree_is_found_below_a_frame_of_our_own() -> None:
    buffer = robot()
    assert buffer.root_of("camera") == "odom"
    buffer.add("map", "odom", motion(), SECOND)
    assert buffer.root_of("camera", below={"map"}) == "odom"
    assert buffer.root_of("nobody") == "nobody"


def test_a_loop_of_frames_ends() -> None:
    buffer = TransformBuffer()
    buffer.add("a", "b", motion(), None)
    buffer.add("b", "a", motion(), None)
    assert buffer.root_of("a") in ("a", "b")
    with pytest.raises(TransformError):
        buffer.lookup("a", "c", None)


def test_two_parents_of_a_frame_are_both_kept() -> None:
    buffer = robot()
    buffer.add("vision_odom", "base", motion(), SECOND)
    assert buffer.parents_of("base") == {"odom", "vision_odom"}


def test_memory_is_bounded() -> None:
    buffer = TransformBuffer()
    for step in range(5000):
        buffer.add("a", "b", motion(), step * KEEP_NS // 100)
    assert len(buffer._tree.links["b"].stamps_ns) < 200


UNUSABLE = {
    "not finite": np.full((4, 4), np.nan),
    "NaN translation": motion(np.nan),
    "infinite translation": motion(-np.inf),
    "absurd translation": motion(1e200),
    "zero": np.zeros((4, 4)),
    "tiny": 1e-300 * np.eye(4),
    "scaled": np.diag([2.0, 2.0, 2.0, 1.0]),
    "mirrored": np.diag([1.0, 1.0, -1.0, 1.0]),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_transforms_are_refused_and_the_former_ones_stay(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    buffer, tree = robot(), TransformTree()
    for stamp_ns in (None, 5 * SECOND):
        with pytest.raises(TransformError, match="base -> mast"):
            tree.add("base", "mast", UNUSABLE[name], stamp_ns)
        for _ in range(3):
            buffer.add("base", "mast", UNUSABLE[name], stamp_ns)
            buffer.add("odom", "base", UNUSABLE[name], stamp_ns)
    assert tree.links == {}
    np.testing.assert_allclose(buffer.lookup("odom", "mast", SECOND)[:3, 3], [1.5, 0.0, 0.0])
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 2
    assert ["base -> mast" in text for text in warned] == [True, False]


def test_a_bag_with_unusable_transforms_uses_the_others(caplog: pytest.LogCaptureFixture) -> None:
    recorded = [RecordedTransform("odom", "base", motion(float(k)), k * SECOND) for k in range(3)]
    recorded += [RecordedTransform("odom", "base", T, 3 * SECOND) for T in UNUSABLE.values()]
    transforms = BagTransforms(recorded)
    T = transforms.lookup("odom", "base", SECOND)
    assert T is not None
    assert T[0, 3] == 1.0
    assert transforms.lookup("odom", "base", 3 * SECOND) is None
    assert [str(len(UNUSABLE)) in record.getMessage() for record in caplog.records] == [True]
