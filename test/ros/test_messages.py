# SPDX-License-Identifier: Apache-2.0
"""The messages of one frame, byte by byte."""

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
HEADER = messages.make_header(STAMP_NS, "camera")


def update() -> Update:
    """Return a frame with pixels of low confidence, pixels behind the camera, and all values different."""
    result = prediction()
    rng = np.random.default_rng(0)
    shape = result.confidence.shape
    points = rng.normal(size=(*shape, 3)).astype(np.float32)
    result = replace(
        result,
        points_camera=points,
        confidence=rng.uniform(1.0, 4.0, shape).astype(np.float32),
        rgb=rng.integers(0, 256, (*shape, 3), dtype=np.uint8),
    )
    covariance = np.arange(36.0).reshape(6, 6)
    return Update(
        frame=Frame(STAMP_NS, "camera", np.zeros((24, 32, 3), np.uint8)),
        prediction=result,
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


def pixels(frame_update: Update, min_confidence: float):
    """Yield point, color and validity of each pixel in row order."""
    result = frame_update.prediction
    flat = (result.points_camera.reshape(-1, 3), result.rgb.reshape(-1, 3), result.confidence.ravel())
    for point, color, confidence in zip(*(values.tolist() for values in flat), strict=True):
        yield point, color, confidence >= min_confidence and point[2] > 0


@pytest.fixture(params=[1.0, 2.5, 99.0], ids=["behind", "low", "none"])
def min_confidence(request) -> float:
    return request.param


def test_a_depth_image_has_z_as_float32_and_nan_without_depth(min_confidence):
    frame_update = update()
    depth = masked_depth(frame_update, min_confidence)
    image = messages.depth_image(frame_update, depth, DepthConfig(), HEADER)
    expected = [
        struct.pack("<f", point[2]) if counts else NAN
        for point, _, counts in pixels(frame_update, min_confidence)
    ]
    assert image.data.tobytes() == b"".join(expected)
    assert isinstance(image.data, array.array)
    described = (image.encoding, image.height, image.width, image.step, image.is_bigendian)
    assert described == ("32FC1", 12, 16, 64, 0)
    assert image.header == HEADER


def test_a_frame_of_high_confidence_has_depth_everywhere():
    frame_update = update()
    points = np.abs(frame_update.prediction.points_camera) + np.float32(0.1)
    frame_update = replace(
        frame_update, prediction=replace(frame_update.prediction, points_camera=points)
    )
    depth = masked_depth(frame_update, 1.0)
    assert depth.tobytes() == points[..., 2].tobytes()
    assert not np.shares_memory(depth, points)
    assert messages.frame_cloud(frame_update, depth, HEADER).width == depth.size


def test_a_depth_image_in_millimeters_has_uint16_and_zero_without_depth(min_confidence):
    frame_update = update()
    depth = masked_depth(frame_update, min_confidence)
    image = messages.depth_image(frame_update, depth, DepthConfig(encoding="16UC1"), HEADER)
    values = [
        round(np.float32(point[2]) * np.float32(1000.0)) if counts else 0
        for point, _, counts in pixels(frame_update, min_confidence)
    ]
    assert image.data.tobytes() == struct.pack(f"<{len(values)}H", *values)
    assert (image.encoding, image.height, image.width, image.step) == ("16UC1", 12, 16, 32)


def test_a_confidence_image_has_float32_for_every_pixel():
    frame_update = update()
    image = messages.confidence_image(frame_update, HEADER)
    values = frame_update.prediction.confidence.ravel().tolist()
    assert image.data.tobytes() == struct.pack(f"<{len(values)}f", *values)
    assert (image.encoding, image.height, image.width, image.step) == ("32FC1", 12, 16, 64)


def test_a_cloud_has_position_and_color_of_confident_points_in_row_order(min_confidence):
    frame_update = update()
    cloud = messages.frame_cloud(frame_update, masked_depth(frame_update, min_confidence), HEADER)
    expected = [
        struct.pack("<fff", *point) + bytes((b, g, r, 0))
        for point, (r, g, b), counts in pixels(frame_update, min_confidence)
        if counts
    ]
    assert cloud.data.tobytes() == b"".join(expected)
    assert isinstance(cloud.data, array.array)
    described = (cloud.height, cloud.width, cloud.point_step, cloud.row_step)
    assert described == (1, len(expected), 16, 16 * len(expected))
    assert (cloud.is_dense, cloud.is_bigendian, cloud.header) == (True, False, HEADER)
    assert [(field.name, field.offset, field.datatype, field.count) for field in cloud.fields] == [
        (name, 4 * index, PointField.FLOAT32, 1) for index, name in enumerate(("x", "y", "z", "rgb"))
    ]


def test_poses_and_transforms_of_one_matrix_have_the_same_quaternion():
    first = messages.pose(T)
    other = messages.pose(pose_matrix(np.array([0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5])))
    again = messages.transform_stamped(T, HEADER, "base_link").transform.rotation
    assert first.orientation == again
    assert first.orientation != other.orientation
    quat_wxyz = np.array([0.9, 0.1, 0.2, 0.3]) / np.linalg.norm([0.9, 0.1, 0.2, 0.3])
    turn = first.orientation
    np.testing.assert_allclose([turn.w, turn.x, turn.y, turn.z], quat_wxyz, atol=1e-12)
