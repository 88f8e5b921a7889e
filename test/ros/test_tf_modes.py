# SPDX-License-Identifier: Apache-2.0
"""The transforms that each tf_mode publishes, and the frames of the odometry."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import image
from graph import FRAME_ID, SECOND, wait_for_connection
from motions import MOUNT

pytestmark = pytest.mark.ros
FRAMES = 4


def edges(peer) -> set[tuple[str, str]]:
    return {(s.header.frame_id, s.child_frame_id) for s in peer.transforms()}


@pytest.mark.parametrize(
    ("mode", "expected", "odometry_frames"),
    [
        ("camera", {("map", "base_link")}, ("map", "base_link")),  # the root of the camera's tree
        ("odom_base", {("map", "odom"), ("odom", "base_link")}, ("odom", "base_link")),
        ("map_odom", {("map", "odom"), ("odom", "base_link")}, ("map", "base_link")),
        ("none", set(), ("map", FRAME_ID)),
    ],
)
def test_in_each_mode_every_frame_has_one_parent(start, mode, expected, odometry_frames):
    node, peer = start(tf_mode=mode)
    peer.subscribe_to_all()
    wait_for_connection(peer)
    transforms = node.mapping.sensors.transforms
    peer.send_static(("base_link", FRAME_ID, MOUNT))
    if mode != "none":
        peer.spin_until(lambda: transforms.root_of(FRAME_ID) == "base_link", "the mount")
    if mode == "map_odom":
        peer.spin_until(peer.tf.get_subscription_count, "a subscriber of /tf")
    for index in range(FRAMES):
        stamp_ns = SECOND + index * SECOND // 10
        if mode == "map_odom":
            T_odom_base = np.eye(4)
            T_odom_base[0, 3] = 0.1 * index
            peer.send_transform("odom", "base_link", T_odom_base, stamp_ns)
        peer.publish(image(index), stamp_ns)
        peer.spin_until(lambda n=index + 1: len(peer.received["odom"]) == n, f"odometry {index}")
    peer.spin_until(lambda: expected <= edges(peer), "the transforms")
    assert edges(peer) == expected
    odometry = peer.received["odom"][-1]
    assert (odometry.header.frame_id, odometry.child_frame_id) == odometry_frames
    assert odometry.pose.covariance[0] > 0
