# SPDX-License-Identifier: Apache-2.0
"""A recording of the demo's room, run offline and played through the node, gives the same to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from graph import START_S, PeerNode, node_process
from mapping import map_without_problems
from recordings import room_bag

from ttt3r_ros.geometry import T_BODY_OPTICAL
from ttt3r_ros.io.bags.reader import Bag
from ttt3r_ros.io.state_file import read_state
from ttt3r_ros.ros import messages

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.ros
FRAMES = 16  # two resets


def play_bag(
    context, domain_id: int, bag: Path, output: Path, transforms=(), **parameters: object
) -> None:
    """Play a bag's images through a node that maps each of them, and save its results."""
    given = {
        "queue_policy": "keep_all", "image_qos": "reliable", "diagnostics_period": 0.1, "output_directory": output,
        **parameters,
    }  # fmt: skip
    output.mkdir()
    peer = PeerNode(context)
    try:
        with node_process(domain_id, output / "node.log", **given) as process:
            peer.subscribe_to_diagnostics()
            peer.subscribe("pose")
            peer.spin_until(
                lambda: peer.images.get_subscription_count() or process.poll() is not None,
                "the node",
                START_S,
            )
            peer.wait_for_outputs("pose")
            play(peer, bag, transforms)
            peer.spin_until(lambda: peer.count("processed") == FRAMES, "all frames")
            for service in ("save_trajectory", "save_map", "save_state"):
                assert peer.call(service).success
    finally:
        peer.close()


def play(peer: PeerNode, bag: Path, transforms) -> None:
    frames = list(Bag(bag).frames())
    calibrated = frames[0].intrinsics is not None
    if calibrated:
        peer.spin_until(peer.camera_infos.get_subscription_count, "a subscriber to the calibration")
    if transforms:
        peer.spin_until(peer.tf.get_subscription_count, "a subscriber to /tf")
        static = [entry for entry in transforms if entry[0] == "/tf_static"]
        peer.send_static(*[(parent, child, T_at(0)) for _, parent, child, T_at in static])
        settle(peer)
    for index, frame in enumerate(frames):
        for topic, parent, child, T_at in transforms:
            if topic == "/tf":
                peer.send_transform(parent, child, T_at(index), frame.stamp_ns)
        peer.publish(frame.rgb, frame.stamp_ns, frame.camera_frame)
        if calibrated and index == 0:
            peer.spin_until(lambda: peer.count("received"), "the image, which waits for its calibration")
            header = messages.make_header(frame.stamp_ns, frame.camera_frame)
            peer.camera_infos.publish(messages.camera_info(frame.intrinsics, header))
        # The publisher keeps only a few messages and drops the oldest.
        peer.spin_until(lambda sent=index + 1: len(peer.received["pose"]) > sent - 4, "a pose")
    assert len(frames) == FRAMES


def offline(bag: Path, output: Path, **settings: object) -> None:
    map_without_problems(bag, output, "trajectory", "map", "state", settings=settings)


def settle(peer: PeerNode) -> None:
    import time

    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        peer.executor.spin_once(timeout_sec=0.05)


def assert_the_same(offline: Path, live: Path) -> None:
    for name in ("trajectory.txt", "map.ply", "map.pcd"):
        assert (offline / name).read_bytes() == (live / name).read_bytes(), name
    run, node = (read_state(folder / "state.npz")["reconstructor"] for folder in (offline, live))
    assert len(run["trajectory"]["stamps_ns"]) == FRAMES
    np.testing.assert_equal(run, node)


@pytest.mark.parametrize("calibrated", [False, True], ids=["uncalibrated", "calibrated"])
def test_offline_and_live_give_the_same_trajectory(context, domain_id, tmp_path, calibrated):
    bag = room_bag(tmp_path / "bag", FRAMES, calibrated=calibrated)
    play_bag(context, domain_id, bag, tmp_path / "live", reset_interval=6)
    offline(bag, tmp_path / "offline", reset_interval=6)
    assert_the_same(tmp_path / "offline", tmp_path / "live")


def test_offline_and_live_give_the_same_with_a_robots_transforms(context, domain_id, tmp_path):
    T_base_camera = np.array(T_BODY_OPTICAL)
    T_base_camera[:3, 3] = 0.2, 0.05, 0.4

    def odometry(index: int) -> np.ndarray:
        T = np.eye(4)
        T[0, 3] = 0.03 * index
        return T

    transforms = (
        ("/tf_static", "base_link", "camera_optical_frame", lambda _: T_base_camera),
        ("/tf", "odom", "base_link", odometry),
    )
    settings = {"tf_mode": "map_odom", "scale.source": "odometry", "transform_timeout": 5.0}
    bag = room_bag(tmp_path / "bag", FRAMES, transforms=transforms)
    play_bag(context, domain_id, bag, tmp_path / "live", transforms, **settings)
    offline(bag, tmp_path / "offline", **settings)
    assert_the_same(tmp_path / "offline", tmp_path / "live")
