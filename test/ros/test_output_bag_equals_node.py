# SPDX-License-Identifier: Apache-2.0
"""The output bag has the topics, profiles and messages of the node."""

from __future__ import annotations

import pytest
from bag_reading import Names, play_bag
from graph import FRAME_ID, map_images, wait_for_connection
from motions import MOUNT
from nav_msgs.msg import Path as PathMessage
from rclpy.serialization import deserialize_message, serialize_message
from recorded import map_room, noisy
from tf2_msgs.msg import TFMessage

from ttt3r_ros.config import from_mapping
from ttt3r_ros.images.depth import masked_depth
from ttt3r_ros.io.bags.writer import OutputBag
from ttt3r_ros.odometry.sensor_context import SensorContext
from ttt3r_ros.ros import messages
from ttt3r_ros.transforms.edges import body_edge

pytestmark = pytest.mark.ros

NODE = "/mapping_node"
HANDHELD = Names()


def bag_of(path, updates, reconstructor, config, names=HANDHELD):
    bag = OutputBag(path, config, names)
    for update in updates:
        bag.add(update)
    bag.close(reconstructor)
    return play_bag(path)


def assert_same(raw, message):
    """Compare messages, not bytes: the padding of serialized messages is arbitrary."""
    sent = serialize_message(message)
    assert len(raw) == len(sent)
    assert deserialize_message(raw, type(message)) == deserialize_message(sent, type(message))


def expected_messages(update, config, seconds):
    """Return the messages of the node's functions for a frame, by topic."""
    stamp_ns = update.frame.stamp_ns
    in_camera, in_map = messages.make_header(stamp_ns, FRAME_ID), messages.make_header(stamp_ns, "map")
    depth = masked_depth(update, config.min_confidence)
    edge = body_edge(config, update, "map", "base_link")
    return {
        "pose": messages.pose_stamped(update.T_map_base, in_map),
        "odom": messages.odometry(
            update,
            seconds,
            edge.T_parent_child,
            messages.make_header(stamp_ns, edge.parent),
            "base_link",
        ),
        "depth/image": messages.depth_image(update, depth, config.depth, in_camera),
        "depth/camera_info": messages.depth_camera_info(update, config.depth, in_camera),
        "confidence/image": messages.confidence_image(update, in_camera),
        "points": messages.frame_cloud(update, depth, in_camera),
    }


@pytest.mark.parametrize("size", ["network", "input"])
@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
@pytest.mark.parametrize("tf_mode", ["camera", "odom_base"])
def test_the_messages_of_a_frame_equal_the_nodes_messages_to_the_last_bit(
    tmp_path, tf_mode, encoding, size
):
    config = from_mapping(
        {
            "tf_mode": tf_mode, "depth.encoding": encoding, "depth.resolution": size, "min_confidence": 2.0,
        }
    )  # fmt: skip
    around = SensorContext(T_base_camera=MOUNT)
    updates, reconstructor = map_room(3, config, lambda _: around)
    updates = [noisy(update) for update in updates]
    bag = bag_of(tmp_path / "bag", updates, reconstructor, config, Names(body="base_link"))
    for k, update in enumerate(updates):
        for topic, message in expected_messages(update, config, float(k > 0)).items():
            assert_same(bag.raw[f"{NODE}/{topic}"][k], message)


def test_map_path_and_transforms_equal_the_nodes_messages(tmp_path):
    config = from_mapping({"level_source": "floor"})
    updates, reconstructor = map_room(3, config)
    reconstructor.map.integrate(updates[-1], -1.0)  # the height of the floor
    bag = bag_of(tmp_path / "bag", updates, reconstructor, config)
    in_map = messages.make_header(updates[-1].frame.stamp_ns, "map")
    cloud = reconstructor.map.voxels.point_cloud()
    made = messages.cloud(cloud.points, cloud.rgb, in_map)
    assert_same(bag.raw[f"{NODE}/map_cloud"][0], made)
    grid = messages.occupancy_grid(reconstructor.map.grid.to_grid(), in_map)
    assert_same(bag.raw[f"{NODE}/map"][0], grid)
    for update, raw in zip(updates, bag.raw["/tf"], strict=True):
        (sent,) = deserialize_message(raw, TFMessage).transforms
        header = messages.make_header(update.frame.stamp_ns, "map")
        assert sent == messages.transform_stamped(update.T_map_base, header, FRAME_ID)
    path = deserialize_message(bag.raw[f"{NODE}/path"][0], PathMessage)
    assert path.header == in_map
    assert path.poses == [
        messages.pose_stamped(update.T_map_base, messages.make_header(update.frame.stamp_ns, "map"))
        for update in updates
    ]


def profile(qos) -> tuple[str, int, str, str]:
    return qos.history.name, qos.depth, qos.reliability.name, qos.durability.name


def published(node) -> dict[str, list[str]]:
    """Return topics and types of the node's publishers.

    Not from the graph, where a query by name may return those of another node that is shutting down.
    """
    return {
        publisher.topic_name: [
            f"{publisher.msg_type.__module__.split('.')[0]}/msg/{publisher.msg_type.__name__}"
        ]
        for publisher in node.publishers
    }


def test_topics_types_and_profiles_equal_those_of_a_running_node(start, tmp_path):
    node, peer = start(camera_frame_convention="body")
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 1)
    own = published(node)

    config = from_mapping({"camera_frame_convention": "body", "level_source": "floor"})
    names = Names(FRAME_ID, f"{FRAME_ID}_optical_frame", FRAME_ID)
    updates, reconstructor = map_room(1, config)
    reconstructor.map.integrate(updates[-1], -1.0)
    bag = bag_of(tmp_path / "bag", updates, reconstructor, config, names)

    beside = {
        f"{NODE}/color/image",
        f"{NODE}/color/camera_info",
        "/diagnostics",
        "/rosout",
        "/parameter_events",
        f"{NODE}/transition_event",
    }
    assert {topic: [c.msgtype] for topic, c in bag.connections.items()} == {
        topic: types for topic, types in own.items() if topic not in beside
    }
    for topic, connection in bag.connections.items():
        (offered,) = connection.ext.offered_qos_profiles
        publisher = next(p for p in node.publishers if p.topic_name == topic)
        assert profile(offered) == profile(publisher.qos_profile), topic
