# SPDX-License-Identifier: Apache-2.0
"""Clouds, rotations, transforms and the choice of optional packages, with and without the packages."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

rclpy = pytest.importorskip("rclpy", reason="needs the ROS messages")

from compat_branches import BRANCHES, plain, skip_without  # noqa: E402
from geometry_msgs.msg import TransformStamped  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import PointField  # noqa: E402

from ttt3r_ros.errors import ConfigError  # noqa: E402
from ttt3r_ros.ros import compat, messages  # noqa: E402
from ttt3r_ros.ros.tf_messages import StaticTransformBroadcaster, transform_broadcaster  # noqa: E402

# The parser inside the ROS wheels imports these two deprecated modules once per process.
pytestmark = [
    pytest.mark.ros,
    pytest.mark.filterwarnings("ignore:module 'sre_(parse|constants)' is deprecated:DeprecationWarning"),
]

HEADER = messages.make_header(1_700_000_000_123_456_789, "map")
DISCOVERY_S = 20.0
ROOT = Path(compat.__file__).parents[2]


def _cloud_arrays(count):
    rng = np.random.default_rng(5)
    return rng.normal(size=(count, 3)).astype(np.float32), rng.integers(0, 256, (count, 3), np.uint8)


@BRANCHES
@pytest.mark.parametrize("count", [0, 1, 17])
def test_a_cloud_has_points_and_colors_in_row_order(packages, count):
    points, rgb = _cloud_arrays(count)
    with packages():
        cloud = messages.cloud(points, rgb, HEADER)
    shape = (cloud.height, cloud.width, cloud.point_step, cloud.row_step)
    assert shape == (1, count, 16, 16 * count)
    assert (cloud.is_dense, cloud.is_bigendian, cloud.header) == (True, False, HEADER)
    fields = [(field.name, field.offset, field.datatype, field.count) for field in cloud.fields]
    assert fields == [
        (name, 4 * i, PointField.FLOAT32, 1) for i, name in enumerate(("x", "y", "z", "rgb"))
    ]
    records = list(struct.iter_unpack("<fffI", cloud.data))
    expected_rgb = [int(r) << 16 | int(g) << 8 | int(b) for r, g, b in rgb]
    assert [record[3] for record in records] == expected_rgb
    assert [list(record[:3]) for record in records] == points.tolist()


def test_clouds_of_sensor_msgs_py_and_numpy_have_equal_bytes():
    skip_without("clouds", "sensor_msgs_py")
    genuine = messages.cloud(*_cloud_arrays(17), HEADER)
    with plain():
        assert genuine == messages.cloud(*_cloud_arrays(17), HEADER)


def _rotation(x, y, z, w):
    """Return the rotation matrix of a unit quaternion by its textbook formula."""
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _unit(components):
    length = np.linalg.norm(components)
    assume(length > 0.1)
    return np.asarray(components) / length


@BRANCHES
@settings(deadline=None)
@given(components=st.tuples(*[st.floats(-1, 1) | st.sampled_from([-1.0, 0.0, 1e-12, 1.0])] * 4))
def test_a_quaternion_and_its_matrix_are_equal_and_w_is_not_negative(packages, components):
    quat_xyzw = _unit(components)
    T_parent_child = np.eye(4)
    T_parent_child[:3, :3] = _rotation(*quat_xyzw)
    T_parent_child[:3, 3] = [4.0, 5.0, 6.0]
    with packages():
        found = messages.quaternion_from_matrix(T_parent_child)
        matrices = [messages.matrix_from_quaternion(q) for q in (found, 3 * quat_xyzw)]
    assert all(type(component) is float for component in found)
    assert found[3] >= 0
    assert min(np.abs(found - quat_xyzw).max(), np.abs(found + quat_xyzw).max()) < 1e-6
    assert np.allclose(matrices, _rotation(*quat_xyzw), atol=1e-7)


@BRANCHES
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_rotation_by_180_degrees_has_one_quaternion(packages, axis):
    half_turn = -np.eye(3)
    half_turn[axis, axis] = 1.0
    expected = [0.0, 0.0, 0.0, 0.0]
    expected[axis] = 1.0
    with packages():
        assert messages.quaternion_from_matrix(half_turn) == pytest.approx(expected)


@settings(deadline=None)
@given(components=st.tuples(*[st.floats(-1, 1)] * 4))
def test_tf_transformations_and_numpy_give_the_same_rotations(components):
    skip_without("rotations", "tf_transformations")
    quat_xyzw = _unit(components)
    matrix = messages.matrix_from_quaternion(quat_xyzw)
    quaternion = messages.quaternion_from_matrix(matrix)
    with plain():
        assert np.allclose(matrix, messages.matrix_from_quaternion(quat_xyzw), atol=1e-12)
        assume(abs(quat_xyzw[3]) > 1e-6)
        assert np.allclose(quaternion, messages.quaternion_from_matrix(matrix), atol=1e-7)


@pytest.mark.parametrize(
    "matrix", [np.zeros((3, 3)), -np.eye(3), 2 * np.eye(4), np.full((3, 3), np.nan)]
)
def test_a_matrix_that_is_not_a_rotation_is_refused(matrix):
    with pytest.raises(ValueError, match="expected a right-handed rotation"):
        messages.quaternion_from_matrix(matrix)


@pytest.mark.parametrize("quat_xyzw", [(0, 0, 0, 0), (0, 0, 0, float("nan"))])
def test_a_quaternion_of_zero_length_is_refused(quat_xyzw):
    with pytest.raises(ValueError, match="non-zero length"):
        messages.matrix_from_quaternion(quat_xyzw)


@given(st.integers(-(2**31) * 10**9, 2**31 * 10**9 - 1))
def test_stamps_keep_every_nanosecond(stamp_ns):
    stamp = messages.make_stamp(stamp_ns)
    assert 0 <= stamp.nanosec < 10**9
    assert messages.stamp_to_ns(stamp) == stamp_ns


def _transform(child, x):
    transform = TransformStamped(child_frame_id=child)
    transform.header.frame_id = "map"
    transform.transform.translation.x = x
    return transform


def _positions(message):
    return {item.child_frame_id: item.transform.translation.x for item in message.transforms}


class _Graph:
    """A publishing and a subscribing node in a separate context."""

    def __init__(self, domain_id):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.sender, self.receiver = (
            rclpy.create_node(name, context=self.context, enable_rosout=False)
            for name in ("sender", "receiver")
        )
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.receiver)

    def subscribe(self, topic, durability):
        from tf2_msgs.msg import TFMessage

        received = []
        qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
        self.receiver.create_subscription(TFMessage, topic, received.append, qos)
        return received

    def spin_until(self, condition):
        deadline = time.monotonic() + DISCOVERY_S
        while not condition():
            assert time.monotonic() < deadline, "no message in time"
            self.executor.spin_once(timeout_sec=0.05)

    def close(self):
        self.executor.shutdown()
        self.sender.destroy_node()
        self.receiver.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def graph(monkeypatch, domain_id):
    pytest.importorskip("tf2_msgs.msg", reason="needs ./packaging/tf2_msgs or a ROS distribution")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    graph = _Graph(domain_id)
    yield graph
    graph.close()


@BRANCHES
def test_transforms_are_published_in_one_message_on_tf(graph, packages):
    with packages():
        broadcast = transform_broadcaster(graph.sender)
    received = graph.subscribe("/tf", DurabilityPolicy.VOLATILE)
    publisher = next(publisher for publisher in graph.sender.publishers if publisher.topic_name == "/tf")
    graph.spin_until(  # matched, not only discovered
        lambda: publisher.get_subscription_count() == 1 and graph.receiver.count_publishers("/tf")
    )
    offered = graph.receiver.get_publishers_info_by_topic("/tf")[0].qos_profile
    assert (offered.reliability, offered.durability) == (
        ReliabilityPolicy.RELIABLE,
        DurabilityPolicy.VOLATILE,
    )
    broadcast([_transform("camera", 1.0), _transform("base", 2.0)])
    graph.spin_until(lambda: received)
    assert _positions(received[0]) == {"camera": 1.0, "base": 2.0}
    assert [item.header.frame_id for item in received[0].transforms] == ["map", "map"]


def test_a_late_subscriber_receives_the_latest_static_transform_of_every_child(graph):
    broadcaster = StaticTransformBroadcaster(graph.sender)
    broadcaster.send([_transform("camera", 1.0), _transform("base", 2.0)])
    broadcaster.send([_transform("lidar", 3.0)])
    broadcaster.send([_transform("camera", 4.0)])
    received = graph.subscribe("/tf_static", DurabilityPolicy.TRANSIENT_LOCAL)
    graph.spin_until(lambda: received)
    assert _positions(received[0]) == {"camera": 4.0, "base": 2.0, "lidar": 3.0}


def test_without_tf2_msgs_the_error_has_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", None)
    with pytest.raises(ConfigError, match=r"/tf_static.*pip install \./packaging/tf2_msgs"):
        StaticTransformBroadcaster(None)


def _run_with(packages, choice=None):
    """Import the module in a fresh process in which ``packages`` come first."""
    env = {**os.environ, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"}
    env.pop("TTT3R_ROS_COMPAT", None)
    if choice is not None:
        env["TTT3R_ROS_COMPAT"] = choice
    script = "from ttt3r_ros.ros import compat; print(compat.describe_providers())"
    return subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False
    )


CV_BRIDGE_THAT_CONVERTS = """
class CvBridge:
    def imgmsg_to_cv2(self, msg, encoding):
        {body}
"""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "raise AttributeError('_ARRAY_API not found')",
            "not usable: AttributeError: _ARRAY_API not found",
        ),
        ("import no_such_module", "not importable: No module named 'no_such_module'"),
        (CV_BRIDGE_THAT_CONVERTS.format(body="raise KeyError(16)"), "not usable: KeyError: 16"),
        (
            CV_BRIDGE_THAT_CONVERTS.format(body="return [[list(msg.data[:3]), list(msg.data[3:])]]"),
            "not usable: ValueError: converted a test value to [[[1, 2, 3], [4, 5, 6]]]",
        ),
    ],
    ids=["abi_clash", "missing_dependency", "fails_at_use", "wrong_colors"],
)
def test_a_broken_cv_bridge_is_replaced_and_the_reason_received(tmp_path, source, reason):
    (tmp_path / "cv_bridge.py").write_text(source)
    result = _run_with(tmp_path)
    assert result.stdout.startswith(f"images: OpenCV (cv_bridge {reason}"), result.stderr


def test_a_working_cv_bridge_is_used_unless_the_environment_disables_it(tmp_path):
    body = "return [[list(msg.data[2::-1]), list(msg.data[:2:-1])]]"
    (tmp_path / "cv_bridge.py").write_text(CV_BRIDGE_THAT_CONVERTS.format(body=body))
    assert _run_with(tmp_path).stdout.startswith("images: cv_bridge; ")
    assert _run_with(tmp_path, "plain").stdout.startswith("images: OpenCV (TTT3R_ROS_COMPAT=plain); ")


def test_an_unknown_value_of_the_variable_is_refused(tmp_path):
    result = _run_with(tmp_path, "fast")
    assert "ConfigError: TTT3R_ROS_COMPAT is 'fast'; expected 'auto' or 'plain'" in result.stderr
