# SPDX-License-Identifier: Apache-2.0
"""The color image has the pixels, the size, the stamp and the camera of the depth image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from fakes import HEIGHT, WIDTH, image
from graph import SECOND, wait_for_connection
from sensor_msgs.msg import CameraInfo, Image

pytestmark = pytest.mark.ros
RVIZ = Path(__file__).resolve().parents[2] / "config" / "ttt3r.rviz"
NETWORK_RGB = 200  # of every pixel that the fake network processes
DISTORTION = [-0.2, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("resolution", ["network", "input"])
@pytest.mark.parametrize("distortion", [[0.0] * 5, DISTORTION], ids=["pinhole", "distorted"])
def test_color_fits_the_depth(start, resolution, distortion):
    _, peer = start(**{"depth.resolution": resolution})
    peer.subscribe("pose", "depth", "depth_info")
    peer.subscribe_to("color", Image, "/mapping_node/color/image")
    peer.subscribe_to("color_info", CameraInfo, "/mapping_node/color/camera_info")
    wait_for_connection(peer)
    peer.spin_until(peer.camera_infos.get_subscription_count, "a subscriber of camera_info")
    info = CameraInfo(width=2 * WIDTH, height=2 * HEIGHT, distortion_model="plumb_bob")
    info.d, info.k = distortion, [30.0, 0.0, 15.5, 0.0, 30.0, 11.5, 0.0, 0.0, 1.0]
    peer.camera_infos.publish(info)
    rgb = image(5)
    rgb[::3, ::2] = 200
    topics = ("color", "color_info", "depth", "depth_info")
    peer.publish(rgb, SECOND)
    peer.spin_until(lambda: peer.received["pose"], "a pose")
    peer.publish(rgb, 2 * SECOND)  # the first one may be older than the connections
    peer.spin_until(lambda: all(peer.received[topic] for topic in topics), "the outputs")
    color, color_info, depth, depth_info = (peer.received[topic][-1] for topic in topics)
    assert color.encoding == "rgb8"
    assert (color.width, color.height) == (depth.width, depth.height)
    assert (color_info.width, color_info.height) == (depth.width, depth.height)
    assert color.header.frame_id == depth.header.frame_id
    assert (list(color_info.k), list(color_info.d)) == (list(depth_info.k), [0.0] * 5)
    stamps = [{message.header.stamp.sec for message in peer.received[topic]} for topic in topics]
    assert set.intersection(*stamps)
    shown = np.frombuffer(color.data, np.uint8).reshape(color.height, color.width, 3)
    if resolution == "network":
        assert (shown == NETWORK_RGB).all()
    else:
        assert np.array_equal(shown, rgb) == (distortion != DISTORTION), (
            "rectified only with a distortion"
        )


def test_rviz_shows_the_color_and_has_the_pose_estimate_tool():
    manager = yaml.safe_load(RVIZ.read_text())["Visualization Manager"]
    topics = [display["Topic"]["Value"] for display in manager["Displays"] if "Topic" in display]
    assert "/mapping_node/color/image" in topics
    (tool,) = [tool for tool in manager["Tools"] if tool["Class"].endswith("/SetInitialPose")]
    assert tool["Topic"]["Value"] == "initialpose"
