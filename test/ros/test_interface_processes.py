# SPDX-License-Identifier: Apache-2.0
"""Every mode, service and policy of the node in a process of its own, with the real network and real DDS between."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from graph import FRAME_ID, START_S, PeerNode, node_process
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from motions import MOUNT
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from ttt3r_ros.ros import messages
from ttt3r_ros.ros.qos import image_profile
from ttt3r_ros.synthetic.room import ProceduralRoom

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def frames() -> list[Any]:
    return list(ProceduralRoom(frames=8, width=320, height=240).frames())


@contextmanager
def running(context, domain_id: int, folder: Path, **parameters: object) -> Iterator[PeerNode]:
    peer = PeerNode(context)
    given = {"image_qos": "reliable", "diagnostics_period": 0.2, "output_directory": folder} | parameters
    with node_process(domain_id, folder / "log", **given) as process:
        peer.subscribe("pose", "odom")
        peer.subscribe_to_diagnostics()
        peer.subscribe_to("tf", TFMessage, "/tf")
        if parameters.get("autostart", True):
            peer.spin_until(
                lambda: peer.images.get_subscription_count() or process.poll() is not None,
                "the node",
                START_S,
            )
            peer.wait_for_outputs("pose", "odom")
        yield peer
    peer.close()
    assert process.returncode == 0, (folder / "log").read_text()


def show(peer: PeerNode, frames: list[Any], odometry: bool = False) -> None:
    """Publish images, each after the answer to the one before, with a mount and perhaps odometry around them."""
    peer.send_static(("base_link", FRAME_ID, MOUNT))
    for index, frame in enumerate(frames):
        count = len(peer.received["pose"])
        while len(peer.received["pose"]) == count:  # the mount may reach the node after the first image
            stamp_ns = frame.stamp_ns + index
            frame_at = stamp_ns + 1000 * len(peer.received["tries"])
            peer.received["tries"].append(frame_at)
            if odometry:
                T = np.eye(4)
                T[0, 3] = 0.1 * index
                peer.send_transform("odom", "base_link", T, frame_at)
            peer.publish(frame.rgb, frame_at)
            settled = settled_images(peer)
            peer.spin_until(
                partial(answered, peer, count, settled),
                "an answer",
            )


def settled_images(peer: PeerNode) -> int:
    return peer.count("processed") + peer.count("skipped")


def answered(peer: PeerNode, poses: int, settled: int) -> bool:
    return len(peer.received["pose"]) > poses or settled_images(peer) > settled


def edges(peer: PeerNode) -> set[tuple[str, str]]:
    return {(s.header.frame_id, s.child_frame_id) for s in peer.transforms()}


@pytest.mark.parametrize(
    ("mode", "odometry", "expected", "odometry_frames"),
    [
        ("camera", False, {("map", "base_link")}, ("map", "base_link")),  # the root of the camera's tree
        ("odom_base", False, {("map", "odom"), ("odom", "base_link")}, ("odom", "base_link")),
        ("map_odom", True, {("map", "odom"), ("odom", "base_link")}, ("map", "base_link")),
        ("none", False, set(), ("map", FRAME_ID)),
    ],
)
def test_in_each_mode_the_tree_has_one_parent_for_each_frame(
    context, domain_id, tmp_path, frames, mode, odometry, expected, odometry_frames
):
    with running(context, domain_id, tmp_path, tf_mode=mode) as peer:
        show(peer, frames[:4], odometry)
        peer.spin_until(lambda: expected <= edges(peer) and len(peer.received["odom"]) == 4, "the tree")
        assert edges(peer) == expected
        message = peer.received["odom"][-1]
        assert (message.header.frame_id, message.child_frame_id) == odometry_frames
        assert message.pose.covariance[0] > 0


def test_every_service_answers_and_does_what_it_says(context, domain_id, tmp_path, frames):
    with running(context, domain_id, tmp_path) as peer:
        show(peer, frames[:3])
        for service in ("save_map", "save_trajectory", "save_state", "clear_map", "load_state", "pause"):
            response = peer.call(service)
            assert response.success, f"{service}: {response.message}"
        peer.publish(frames[3].rgb, frames[3].stamp_ns + 10**8)
        peer.spin_until(lambda: peer.count("dropped") == 1, "the pause")
        assert peer.call("resume").success
        before = len(peer.received["pose"])
        peer.publish(frames[4].rgb, frames[4].stamp_ns + 10**8)
        peer.spin_until(lambda: len(peer.received["pose"]) > before, "a pose after the pause")
        assert peer.call("reset").success
        peer.spin_until(lambda: peer.diagnostics().get("trajectory_poses") == "0", "the reset")
    assert {"map.ply", "map.pcd", "trajectory.txt", "state.npz"} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_with_policy_every_a_burst_is_mapped_whole(context, domain_id, tmp_path, frames):
    with running(context, domain_id, tmp_path, queue_policy="keep_all") as peer:
        # A sender that keeps what was not acknowledged yet; what another forgets is counted as lost.
        peer.node.destroy_publisher(peer.images)
        keep_all = image_profile("reliable", "keep_all")
        peer.images = peer.node.create_publisher(Image, "image", keep_all)
        peer.wait_for_subscriber()
        for round_ in range(3):
            for index, frame in enumerate(frames):
                peer.publish(frame.rgb, frame.stamp_ns + round_ * 10**9 + index)
            peer.spin_until(
                lambda round_=round_: peer.count("processed") == 8 * (round_ + 1), "the burst"
            )
        assert (peer.count("dropped"), peer.count("lost")) == (0, 0)
        stamps = [messages.stamp_to_ns(message.header.stamp) for message in peer.received["pose"]]
        assert stamps == sorted(stamps)


def test_a_manager_brings_it_up_and_an_impossible_transition_does_not_bring_it_down(
    context, domain_id, tmp_path, frames
):
    with running(context, domain_id, tmp_path, autostart=False) as peer:
        client = peer.node.create_client(GetState, "/mapping_node/get_state")
        peer.spin_until(client.service_is_ready, "the node", START_S)

        def change(transition: int) -> bool:
            request = ChangeState.Request(transition=Transition(id=transition))
            return bool(peer.call_service(ChangeState, "change_state", request).success)

        assert not change(Transition.TRANSITION_ACTIVATE)
        assert change(Transition.TRANSITION_CONFIGURE)
        assert change(Transition.TRANSITION_ACTIVATE)
        assert not change(Transition.TRANSITION_CONFIGURE)
        state = peer.call_service(GetState, "get_state", GetState.Request()).current_state.id
        assert state == State.PRIMARY_STATE_ACTIVE
        peer.wait_for_subscriber()
        peer.wait_for_outputs("pose")
        show(peer, frames[:2])
