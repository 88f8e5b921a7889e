# SPDX-License-Identifier: Apache-2.0
"""The results of one frame as messages, byte by byte."""

from __future__ import annotations

import array
import struct
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS messages")

from fakes import prediction
from sensor_msgs.msg import PointField

from ttt3r_ros.config import DepthConfig
from ttt3r_ros.geometry import pose_matrix
from ttt3r_ros.images.depth import masked_depth
from ttt3r_ros.ros import messages
from ttt3r_ros.types import Frame, Intrinsics, Update

pytestmark = pytest.mark.ros

STAMP_NS = 1_700_000_000_123_456_789
NAN = struct.pack("<I", 0x7FC00000)  # quiet, as NumPy's
T = pose_matrix(np.array([1.0, 2.0, 3.0, 0.9, 0.1, 0.2, 0.3]))
OF = messages.make_header(STAMP_NS, "camera")


def update() -> Update:
    """Return a frame of which some pixels are unsure, some behind the camera, and every one is different."""
    seen = prediction()
    rng = np.random.default_rng(0)
    shape = seen.confidence.shape
    points = rng.normal(size=(*shape, 3)).astype(np.float32)
    seen = replace(
        seen,
        points_camera=points,
        confidence=rng.uniform(1.0, 4.0, shape).astype(np.float32),
        rgb=rng.integers(0, 256, (*shape, 3), dtype=np.uint8),
    )
    covariance = np.arange(36.0).reshape(6, 6)
    return Update(
        frame=Frame(STAMP_NS, "camera", np.zeros((24, 32, 3), np.uint8)),
        prediction=seen,
        T_map_camera=T,
        intrinsics=Intrinsics(20.0, 21.0, 8.0, 6.0, 16, 12),
        segment=0,
        timings_s={},
        T_map_odom=np.eye(4),
        T_odom_base=T,
        T_base_camera=np.eye(4),
        T_step=T,
        scale=1.0,
        pose_covariance=covariance,
        twist_covariance=2.0 * covariance,
    )


def pixels(shown: Update, min_confidence: float):
    """Yield point, color and whether both count, of each pixel in row order."""
    seen = shown.prediction
    flat = (seen.points_camera.reshape(-1, 3), seen.rgb.reshape(-1, 3), seen.confidence.ravel())
    for point, color, confidence in zip(*(values.tolist() for values in flat), strict=True):
        yield point, color, confidence >= min_confidence and point[2] > 0


@pytest.fixture(params=[1.0, 2.5, 99.0], ids=["behind", "unsure", "nothing"])
def min_confidence(request) -> float:
    return request.param


def test_a_depth_image_is_z_in_four_bytes_and_nan_where_there_is_none(min_confidence):
    shown = update()
    depth = masked_depth(shown, min_confidence)
    image = messages.depth_image(shown, depth, DepthConfig(), OF)
    expected = [
        struct.pack("<f", point[2]) if counts else NAN
        for point, _, counts in pixels(shown, min_confidence)
    ]
    assert image.data.tobytes() == b"".join(expected)
    assert isinstance(image.data, array.array)
    described = (image.encoding, image.height, image.width, image.step, image.is_bigendian)
    assert described == ("32FC1", 12, 16, 64, 0)
    assert image.header == OF


def test_a_frame_without_a_doubt_has_depth_everywhere():
    shown = update()
    points = np.abs(shown.prediction.points_camera) + np.float32(0.1)
    shown = replace(shown, prediction=replace(shown.prediction, points_camera=points))
    depth = masked_depth(shown, 1.0)
    assert depth.tobytes() == points[..., 2].tobytes()
    assert not np.shares_memory(depth, points)
    assert messages.frame_cloud(shown, depth, OF).width == depth.size


def test_a_depth_image_in_millimeters_is_two_bytes_and_nought_where_there_is_none(min_confidence):
    shown = update()
    depth = masked_depth(shown, min_confidence)
    image = messages.depth_image(shown, depth, DepthConfig(encoding="16UC1"), OF)
    values = [
        round(np.float32(point[2]) * np.float32(1000.0)) if counts else 0
        for point, _, counts in pixels(shown, min_confidence)
    ]
    assert image.data.tobytes() == struct.pack(f"<{len(values)}H", *values)
    assert (image.encoding, image.height, image.width, image.step) == ("16UC1", 12, 16, 32)


def test_a_confidence_image_is_four_bytes_for_every_pixel():
    shown = update()
    image = messages.confidence_image(shown, OF)
    values = shown.prediction.confidence.ravel().tolist()
    assert image.data.tobytes() == struct.pack(f"<{len(values)}f", *values)
    assert (image.encoding, image.height, image.width, image.step) == ("32FC1", 12, 16, 64)


def test_a_cloud_is_x_y_z_and_color_of_what_is_sure_in_row_order(min_confidence):
    shown = update()
    cloud = messages.frame_cloud(shown, masked_depth(shown, min_confidence), OF)
    expected = [
        struct.pack("<fff", *point) + bytes((b, g, r, 0))
        for point, (r, g, b), counts in pixels(shown, min_confidence)
        if counts
    ]
    assert cloud.data.tobytes() == b"".join(expected)
    assert isinstance(cloud.data, array.array)
    described = (cloud.height, cloud.width, cloud.point_step, cloud.row_step)
    assert described == (1, len(expected), 16, 16 * len(expected))
    assert (cloud.is_dense, cloud.is_bigendian, cloud.header) == (True, False, OF)
    assert [(field.name, field.offset, field.datatype, field.count) for field in cloud.fields] == [
        (name, 4 * index, PointField.FLOAT32, 1) for index, name in enumerate(("x", "y", "z", "rgb"))
    ]


def test_a_place_is_the_same_in_every_message_and_stays_when_another_is_asked_for():
    first = messages.pose(T)
    other = messages.pose(pose_matrix(np.array([0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5])))
    again = messages.transform_stamped(T, OF, "base_link").transform.rotation
    assert first.orientation == again
    assert first.orientation != other.orientation
    quat_wxyz = np.array([0.9, 0.1, 0.2, 0.3]) / np.linalg.norm([0.9, 0.1, 0.2, 0.3])
    turn = first.orientation
    np.testing.assert_allclose([turn.w, turn.x, turn.y, turn.z], quat_wxyz, atol=1e-12)
