# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node with the package's network in its own process; one process for all tests of this file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rclpy
from graph import START_S, PeerNode, node_process
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sensor_msgs.msg import Image

from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network
from ttt3r_ros.ros import messages
from ttt3r_ros.ros.image_messages import depth_from_image
from ttt3r_ros.ros.qos import image_profile
from ttt3r_ros.synthetic.room import ProceduralRoom

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ttt3r_ros.types import Frame

pytestmark = pytest.mark.ros
CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
PARAMETERS: dict[str, Any] = {
    "autostart": False,
    "diagnostics_period": 0.1,
    "image_qos": "reliable",
    "queue_policy": "keep_all",
    "reset_interval": 3,
}


@dataclass
class ManagedNode:
    """An active node and the results of the transitions that activated it."""

    peer: PeerNode
    folder: Path
    frames: list[Frame]
    transitions: list[tuple[int, bool]] = field(default_factory=list)
    newest_ns: int = 10**9

    def change_state(self, transition: int) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        success = self.peer.call_service(ChangeState, "change_state", request).success
        self.transitions.append((transition, bool(success)))

    def publish(self, frame: Frame) -> int:
        """Publish an image 0.1 s after the image before; return its stamp."""
        self.newest_ns += 10**8
        self.peer.publish(frame.rgb, self.newest_ns)
        return self.newest_ns

    def map_images(self, frames: list[Frame]) -> list[int]:
        """Publish each image after the pose of the image before; return the stamps."""
        stamps_ns = []
        for frame in frames:
            count = len(self.peer.received["pose"])
            stamps_ns.append(self.publish(frame))
            self.peer.spin_until(
                lambda count=count: len(self.peer.received["pose"]) > count,
                f"a pose at {self.newest_ns}",
            )
        return stamps_ns


@pytest.fixture(scope="module")
def managed(domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedNode]:
    folder = tmp_path_factory.mktemp("node")
    context = rclpy.context.Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    peer = PeerNode(context)
    with node_process(domain_id, folder / "log", **PARAMETERS, output_directory=folder) as process:
        peer.subscribe("pose", "depth", "points")
        peer.subscribe_to_diagnostics()
        # With keep_all on both sides no image is lost.
        peer.node.destroy_publisher(peer.images)
        peer.images = peer.node.create_publisher(Image, "image", image_profile("reliable", "keep_all"))
        node = ManagedNode(peer, folder, list(ProceduralRoom(frames=8, width=320, height=240).frames()))
        client = peer.node.create_client(ChangeState, "/mapping_node/change_state")
        peer.spin_until(
            lambda: client.service_is_ready() or process.poll() is not None, "the node", START_S
        )
        for transition in (ACTIVATE, CONFIGURE, ACTIVATE, CONFIGURE):
            node.change_state(transition)
        peer.wait_for_subscriber()
        peer.wait_for_outputs("pose", "depth", "points")
        yield node
    peer.close()
    context.try_shutdown()
    assert process.returncode == 0, (folder / "log").read_text()


def test_a_lifecycle_manager_activates_the_node_and_impossible_transitions_fail(managed):
    assert managed.transitions == [
        (ACTIVATE, False), (CONFIGURE, True), (ACTIVATE, True), (CONFIGURE, False),
    ]  # fmt: skip
    state = managed.peer.call_service(GetState, "get_state", GetState.Request()).current_state.id
    assert state == State.PRIMARY_STATE_ACTIVE


def test_images_are_mapped_to_poses_depth_points_and_a_map(managed):
    peer = managed.peer
    assert peer.call("reset").success
    before = peer.count("processed")
    for name in ("depth", "points"):
        peer.received[name].clear()
    stamps_ns = managed.map_images(managed.frames[:5])
    peer.spin_until(lambda: peer.received["depth"] and peer.received["points"], "depth and points")
    peer.spin_until(lambda: peer.count("processed") == before + 5, "the counts")
    facts = peer.diagnostics()
    assert facts["segment"] == "1"
    assert 50 < int(facts["fused_pixel_percent"]) <= 100
    assert facts["pose_source"] == "visual_odometry"
    assert int(facts["landmarks"]) > 50
    assert facts["weights"].startswith("ttt3r_small.safetensors")
    assert peer.call("save_trajectory").success
    assert peer.call("save_map").success
    depth = depth_from_image(peer.received["depth"][-1])
    assert depth.shape == tuple(load_network(PACKAGE_WEIGHTS).network.config.img_size)
    assert np.isfinite(depth).mean() > 0.9
    assert [stamp for stamp, _ in read_tum(managed.folder / "trajectory.txt")] == stamps_ns
    assert (managed.folder / "map.ply").stat().st_size > 1_250


def test_every_service_succeeds_and_has_its_effect(managed):
    peer = managed.peer
    managed.map_images(managed.frames[:3])
    for service in ("save_map", "save_trajectory", "save_state", "clear_map", "load_state", "pause"):
        response = peer.call(service)
        assert response.success, f"{service}: {response.message}"
    before = peer.count("dropped")
    managed.publish(managed.frames[3])
    peer.spin_until(lambda: peer.count("dropped") == before + 1, "a dropped image")
    assert peer.call("resume").success
    managed.map_images(managed.frames[4:5])
    assert peer.call("reset").success
    peer.spin_until(lambda: peer.diagnostics().get("trajectory_poses") == "0", "an empty trajectory")
    names = {path.name for path in managed.folder.iterdir()}
    assert {"map.ply", "map.pcd", "trajectory.txt", "state.npz"} <= names


def test_with_queue_policy_keep_all_every_image_of_a_burst_is_mapped(managed):
    peer = managed.peer
    peer.received["pose"].clear()
    before, dropped = peer.count("processed"), peer.count("dropped")
    for burst in range(1, 4):
        for frame in managed.frames:
            managed.publish(frame)
        peer.spin_until(
            lambda n=before + 8 * burst: peer.count("processed") == n, f"8 images of burst {burst}"
        )
    assert (peer.count("dropped"), peer.count("lost")) == (dropped, 0)
    peer.spin_until(lambda: len(peer.received["pose"]) == 24, "24 poses")
    stamps_ns = [messages.stamp_to_ns(message.header.stamp) for message in peer.received["pose"]]
    assert stamps_ns == sorted(stamps_ns)
