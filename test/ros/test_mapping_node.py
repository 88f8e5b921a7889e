# SPDX-License-Identifier: Apache-2.0
"""The node in this process, with a backend whose answers are known, over real DDS."""

from __future__ import annotations

import array
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rclpy
from fakes import DEPTH_M, FOCAL, HEIGHT, WIDTH, FakeBackend, image
from graph import FRAME_ID, Bench
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.io.sequence import read_tum
from ttt3r_ros.io.writers import read_ply
from ttt3r_ros.ros import compat
from ttt3r_ros.ros.mapping_node import MappingNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.ros
SECOND = 10**9


@pytest.fixture
def start(
    context: rclpy.context.Context, tmp_path: Path
) -> Iterator[Callable[..., tuple[MappingNode, Bench]]]:
    started: list[tuple[MappingNode, Bench]] = []

    def _start(backend: FakeBackend | None = None, **parameters: object) -> tuple[MappingNode, Bench]:
        defaults: dict[str, object] = {
            "image_qos": "reliable",
            "diagnostics_period": 0.1,
            "map.publish_period": 0.1,
            "output_directory": str(tmp_path),
        }
        overrides = [Parameter(name, value=value) for name, value in (defaults | parameters).items()]
        node = MappingNode(backend or FakeBackend(), context=context, parameter_overrides=overrides)
        bench = Bench(context, node)
        started.append((node, bench))
        return node, bench

    yield _start
    for node, bench in started:
        bench.close()
        node.destroy_node()


def walk(bench: Bench, count: int, first_stamp_ns: int = SECOND) -> None:
    """Show images one by one, each after the answer to the one before."""
    for index in range(count):
        stamp_ns = first_stamp_ns + index * SECOND // 10
        bench.publish(image(index), stamp_ns)
        bench.spin_until(lambda: bench.got["pose"], "a pose")
        bench.spin_until(
            lambda stamp_ns=stamp_ns: compat.stamp_to_ns(bench.got["pose"][-1].header.stamp) == stamp_ns,
            "its pose",
        )


def connected(bench: Bench) -> None:
    bench.wait_for_subscriber()
    bench.wait_for_outputs()


def test_every_output_carries_the_stamp_of_the_image_and_the_right_frame(start):
    _, bench = start()
    bench.listen_to_all()
    connected(bench)
    stamp_ns = 1_700_000_000_123_456_789
    walk(bench, 1, stamp_ns)
    names = ("pose", "odom", "path", "depth", "depth_info", "confidence", "points", "tf", "map")
    bench.spin_until(lambda: all(bench.got[name] for name in names), "one message of each output")
    for name in names:
        message = bench.got[name][-1]
        header = message.transforms[0].header if name == "tf" else message.header
        assert compat.stamp_to_ns(header.stamp) == stamp_ns, name
        expected = FRAME_ID if name in ("depth", "depth_info", "confidence", "points") else "map"
        assert header.frame_id == expected, name
    assert bench.got["tf"][-1].transforms[0].child_frame_id == FRAME_ID
    assert bench.got["odom"][-1].child_frame_id == FRAME_ID


def test_walking_along_the_optical_axis_is_walking_along_x_of_a_z_up_map(start):
    _, bench = start()
    bench.listen_to_all()
    connected(bench)
    walk(bench, 4)
    position = bench.got["pose"][-1].pose.position
    assert (position.x, position.y, position.z) == pytest.approx((3.0, 0.0, 0.0))
    orientation = bench.got["pose"][-1].pose.orientation
    rotation = compat.matrix_from_quaternion_xyzw(
        (orientation.x, orientation.y, orientation.z, orientation.w)
    )[:3, :3]
    np.testing.assert_allclose(rotation @ [0, 0, 1], [1, 0, 0], atol=1e-9)  # looks along x
    np.testing.assert_allclose(rotation @ [0, -1, 0], [0, 0, 1], atol=1e-9)  # its up is z
    bench.spin_until(
        lambda: all(len(bench.got[name]) == 4 for name in ("tf", "odom", "path")), "all outputs"
    )
    assert bench.got["tf"][-1].transforms[0].transform.translation.x == pytest.approx(3.0)
    # One metre per tenth of a second, forward in the optical frame.
    assert bench.got["odom"][-1].twist.twist.linear.z == pytest.approx(10.0)
    assert len(bench.got["path"][-1].poses) == 4


def test_depth_is_metres_along_z_with_a_matching_camera_info(start):
    _, bench = start()
    bench.listen("pose", "depth", "depth_info", "confidence")
    connected(bench)
    walk(bench, 1)
    bench.spin_until(
        lambda: bench.got["depth"] and bench.got["depth_info"] and bench.got["confidence"], "depth"
    )
    depth, info = bench.got["depth"][-1], bench.got["depth_info"][-1]
    assert (depth.encoding, depth.width, depth.height) == ("32FC1", WIDTH, HEIGHT)
    assert isinstance(depth.data, array.array)
    np.testing.assert_allclose(np.frombuffer(depth.data, np.float32), DEPTH_M)
    assert (info.width, info.height, info.header) == (WIDTH, HEIGHT, depth.header)
    assert (info.k[0], info.k[4]) == pytest.approx((FOCAL, FOCAL))
    assert list(info.p[:3]) == list(info.k[:3])


def test_unsure_pixels_are_nan_in_depth_and_absent_from_the_cloud(start):
    _, bench = start(min_confidence=5.0)
    bench.listen("pose", "depth", "points")
    connected(bench)
    walk(bench, 1)
    bench.spin_until(lambda: bench.got["depth"] and bench.got["points"], "depth and points")
    assert np.isnan(np.frombuffer(bench.got["depth"][-1].data, np.float32)).all()
    assert bench.got["points"][-1].width == 0


def test_a_given_calibration_is_scaled_to_the_depth_image(start):
    node, bench = start()
    bench.listen("pose", "depth_info")
    connected(bench)
    bench.spin_until(bench.infos.get_subscription_count, "a subscriber to the calibration")
    info = CameraInfo(
        width=2 * WIDTH, height=2 * HEIGHT, distortion_model="plumb_bob", d=[0.1, 0.0, 0.0, 0.0, 0.0]
    )
    info.k = [60.0, 0.0, 15.5, 0.0, 62.0, 11.5, 0.0, 0.0, 1.0]
    bench.infos.publish(info)
    bench.spin_until(lambda: node._intake._intrinsics is not None, "the calibration")
    walk(bench, 1)
    bench.spin_until(lambda: bench.got["depth_info"], "camera info")
    k = bench.got["depth_info"][-1].k
    # Half the size; the centre of the first pixel moves from 0 to -0.25.
    assert list(k) == pytest.approx([30.0, 0.0, 7.5, 0.0, 31.0, 5.5, 0.0, 0.0, 1.0])
    assert list(bench.got["depth_info"][-1].d) == [0.1, 0.0, 0.0, 0.0, 0.0]


def test_nothing_is_computed_for_a_topic_without_subscriber(start, monkeypatch):
    from ttt3r_ros.ros import messages

    made: list[str] = []
    for name in ("depth_image", "confidence_image", "frame_cloud", "odometry", "camera_info"):
        original = getattr(messages, name)
        monkeypatch.setattr(messages, name, lambda *a, n=name, f=original: (made.append(n), f(*a))[1])
    _, bench = start()
    bench.listen("pose", "depth")
    connected(bench)
    bench.spin_until(
        lambda: bench.node.count_subscribers("/mapping_node/depth/image"), "our subscription"
    )
    walk(bench, 3)
    bench.spin_until(lambda: bench.got["depth"], "a depth image")
    assert set(made) == {"depth_image"}


def test_the_map_reaches_a_late_subscriber(start):
    _, bench = start()
    bench.listen("pose")
    connected(bench)
    walk(bench, 2)
    bench.listen_to_map()
    bench.spin_until(lambda: bench.got["map"], "the map")
    cloud = bench.got["map"][-1]
    points = np.frombuffer(cloud.data, np.float32).reshape(-1, cloud.point_step // 4)[:, :3]
    # Walls two metres ahead of x = 0 and x = 1.
    assert sorted({round(float(x), 3) for x in points[:, 0]}) == [2.0, 3.0]


def test_compressed_images_are_mapped_too(start):
    _, bench = start(image_transport="compressed")
    bench.listen("pose")
    bench.wait_for_outputs("pose")
    bench.spin_until(bench.compressed.get_subscription_count, "a subscriber to compressed images")
    bench.compressed.publish(compat.rgb_to_compressed(image(1), compat.ns_to_stamp(SECOND), FRAME_ID))
    bench.spin_until(lambda: bench.got["pose"], "a pose")


def test_reset_begins_a_new_map_at_the_origin(start):
    node, bench = start()
    bench.listen("pose", "path")
    connected(bench)
    walk(bench, 3)
    response = bench.call("reset")
    assert response.success
    assert (len(node.reconstructor.map), len(node.reconstructor.trajectory)) == (0, 0)
    walk(bench, 1, 10 * SECOND)
    assert bench.got["pose"][-1].pose.position.x == pytest.approx(0.0)
    bench.spin_until(lambda: len(bench.got["path"]) == 4, "the paths")
    assert len(bench.got["path"][-1].poses) == 1


def test_map_and_trajectory_are_saved_where_the_parameter_says(start, tmp_path):
    _, bench = start()
    bench.listen("pose")
    connected(bench)
    walk(bench, 3)
    for service, name in (("save_map", "map.ply"), ("save_trajectory", "trajectory.txt")):
        response = bench.call(service)
        assert response.success
        assert str(tmp_path / name) in response.message
    points, colours = read_ply(tmp_path / "map.ply")
    assert len(points) == len(colours) > 0
    poses = read_tum(tmp_path / "trajectory.txt")
    assert [stamp for stamp, _ in poses] == [SECOND, 11 * SECOND // 10, 12 * SECOND // 10]
    assert [T[0, 3] for _, T in poses] == pytest.approx([0.0, 1.0, 2.0])


def test_an_unwritable_folder_is_an_answer_not_an_end(start, tmp_path):
    file = tmp_path / "file"
    file.touch()
    _, bench = start(output_directory=str(file / "below"))
    bench.listen("pose")
    connected(bench)
    walk(bench, 1)
    response = bench.call("save_map")
    assert not response.success
    assert str(file) in response.message
    walk(bench, 1, 5 * SECOND)


BAD_IMAGES = {
    "unknown encoding": Image(
        encoding="jpeg2000", width=4, height=4, step=4, data=array.array("B", bytes(16))
    ),
    "floats": Image(encoding="32FC1", width=2, height=2, step=8, data=array.array("B", bytes(16))),
    "step too small": Image(
        encoding="rgb8", width=4, height=4, step=4, data=array.array("B", bytes(16))
    ),
    "data too short": Image(
        encoding="rgb8", width=4, height=4, step=12, data=array.array("B", bytes(40))
    ),
    "zero size": Image(encoding="rgb8", width=0, height=0, step=0),
}


@pytest.mark.parametrize("bad", BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_a_bad_image_is_refused_and_the_next_good_one_is_mapped(start, bad):
    _, bench = start()
    bench.listen("pose")
    bench.listen_to_diagnostics()
    connected(bench)
    bad.header.stamp = compat.ns_to_stamp(SECOND)
    bench.images.publish(bad)
    bench.spin_until(lambda: bench.count("refused") == 1, "the refusal")
    walk(bench, 1, 2 * SECOND)
    bench.spin_until(lambda: bench.count("processed") == 1, "the count")
    assert bench.count("received") == 2
    assert "could not be used" in bench.diagnostics().get("message", "")


def test_a_corrupt_jpeg_is_refused_and_the_next_good_one_is_mapped(start):
    _, bench = start(image_transport="compressed")
    bench.listen("pose")
    bench.listen_to_diagnostics()
    bench.wait_for_outputs("pose")
    bench.spin_until(bench.compressed.get_subscription_count, "a subscriber to compressed images")
    broken = CompressedImage(format="jpeg", data=array.array("B", b"\xff\xd8\xff\xe0 no picture"))
    bench.compressed.publish(broken)
    bench.spin_until(lambda: bench.count("refused") == 1, "the refusal")
    bench.compressed.publish(compat.rgb_to_compressed(image(1), compat.ns_to_stamp(SECOND), FRAME_ID))
    bench.spin_until(lambda: bench.got["pose"], "a pose")


@pytest.mark.parametrize("value", [0, 255])
def test_an_image_of_one_colour_is_skipped_and_leaves_the_state_alone(start, value):
    backend = FakeBackend()
    _, bench = start(backend)
    bench.listen("pose")
    bench.listen_to_diagnostics()
    connected(bench)
    bench.publish(np.full((2 * HEIGHT, 2 * WIDTH, 3), value, np.uint8), SECOND)
    bench.spin_until(lambda: bench.count("skipped") == 1, "the skip")
    walk(bench, 1, 2 * SECOND)
    assert backend.shown == [(0, 0)]


def test_a_non_finite_answer_is_skipped_and_leaves_the_state_alone(start):
    backend = FakeBackend()
    _, bench = start(backend)
    bench.listen("pose")
    bench.listen_to_diagnostics()
    connected(bench)
    walk(bench, 1)
    bench.publish(image(13), 2 * SECOND)
    bench.spin_until(lambda: bench.count("skipped") == 1, "the skip")
    walk(bench, 1, 3 * SECOND)
    assert backend.shown == [(0, 0), (0, 1)]


def test_a_stamp_that_repeats_is_refused(start):
    _, bench = start()
    bench.listen("pose")
    bench.listen_to_diagnostics()
    connected(bench)
    walk(bench, 1, 5 * SECOND)
    bench.publish(image(1), 5 * SECOND)
    bench.spin_until(lambda: bench.count("refused") == 1, "the refusal")
    walk(bench, 1, 6 * SECOND)


def test_a_recording_that_begins_again_begins_a_new_map_and_keeps_the_old_one(start, tmp_path):
    node, bench = start()
    bench.listen("pose")
    bench.listen_to_diagnostics()
    connected(bench)
    walk(bench, 3, 100 * SECOND)
    for index in range(2):  # not yet believed
        bench.publish(image(index), SECOND + index * SECOND // 10)
        bench.spin_until(lambda index=index: bench.count("refused") == index + 1, "the refusal")
    walk(bench, 1, 2 * SECOND)
    assert bench.got["pose"][-1].pose.position.x == pytest.approx(0.0)
    assert len(node.reconstructor.trajectory) == 1
    stamp = 100 * SECOND + 2 * SECOND // 10
    assert len(read_tum(tmp_path / f"trajectory_until_{stamp}.txt")) == 3
    assert len(read_ply(tmp_path / f"map_until_{stamp}.ply")[0]) > 0


def test_one_stray_stamp_loses_nothing(start):
    node, bench = start()
    bench.listen("pose")
    bench.listen_to_diagnostics()
    connected(bench)
    walk(bench, 2)
    bench.publish(image(1), 3600 * SECOND)
    bench.spin_until(lambda: bench.count("refused") == 1, "the refusal")
    walk(bench, 1, 2 * SECOND)
    assert bench.got["pose"][-1].pose.position.x == pytest.approx(2.0)
    assert len(node.reconstructor.trajectory) == 3


def test_an_emptied_map_is_published_too(start):
    _, bench = start()
    bench.listen("pose")
    bench.listen_to_map()
    connected(bench)
    walk(bench, 2)
    bench.spin_until(lambda: bench.got["map"] and bench.got["map"][-1].width > 0, "the map")
    bench.call("reset")
    bench.spin_until(lambda: bench.got["map"][-1].width == 0, "the empty map")


def test_there_is_no_map_before_the_first_image(start):
    _, bench = start()
    bench.listen_to_map()
    bench.listen_to_diagnostics()
    bench.spin_until(lambda: len(bench.got["diagnostics"]) > 4, "some time")
    assert not bench.got["map"]


def test_a_calibration_of_nan_is_none(start):
    node, bench = start()
    bench.listen("pose", "depth_info")
    connected(bench)
    bench.spin_until(bench.infos.get_subscription_count, "a subscriber to the calibration")
    info = CameraInfo(width=2 * WIDTH, height=2 * HEIGHT)
    info.k = [float("nan"), 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    bench.infos.publish(info)
    bench.spin_until(lambda: node._intake._complaints, "the complaint")
    walk(bench, 1)
    bench.spin_until(lambda: bench.got["depth_info"], "camera info")
    assert bench.got["depth_info"][-1].k[0] == pytest.approx(FOCAL)


def test_a_folder_without_a_home_is_refused_at_the_start(start):
    with pytest.raises(ConfigError, match=r"~nosuchuser"):
        start(output_directory="~nosuchuser/maps")


def test_qos_names_may_be_in_capitals(start):
    node, _ = start(image_qos="SENSOR_DATA")
    assert node.config.image_qos == "sensor_data"


def test_diagnostics_recover_from_an_old_mistake_and_see_a_camera_that_ceased(start, monkeypatch):
    from ttt3r_ros.ros import statistics

    monkeypatch.setattr(statistics, "RECENT_S", 0.5)
    _, bench = start()
    bench.listen("pose")
    bench.listen_to_diagnostics()
    connected(bench)
    bad = Image(encoding="nonsense", width=1, height=1, step=1, data=array.array("B", b"0"))
    bench.images.publish(bad)
    bench.spin_until(
        lambda: "could not be used" in bench.diagnostics().get("message", ""), "the warning"
    )
    walk(bench, 1)
    bench.spin_until(lambda: bench.diagnostics().get("message", "") == "mapping", "recovery")
    assert float(bench.diagnostics()["latency_ms"]) > 0
    bench.spin_until(
        lambda: bench.diagnostics().get("message", "") == "images ceased", "the end of images"
    )


def test_a_change_of_resolution_does_not_stop_the_mapping(start):
    _, bench = start()
    bench.listen("pose")
    connected(bench)
    walk(bench, 1)
    bench.publish(image(1, height=50, width=70), 9 * SECOND)
    bench.spin_until(lambda: len(bench.got["pose"]) == 2, "the second pose")


def test_a_backend_that_fails_ends_the_node_with_its_reason(start, context):
    class FailingBackend(FakeBackend):
        def step(self, rgb, state):
            msg = "out of memory"
            raise RuntimeError(msg)

    node, bench = start(FailingBackend())
    bench.wait_for_subscriber()
    bench.publish(image(1), SECOND)

    def ended() -> bool:
        return not context.ok()

    with pytest.raises((rclpy.executors.ExternalShutdownException, rclpy._rclpy_pybind11.RCLError)):
        bench.spin_until(lambda: False if context.ok() else bench.executor.spin_once(0.1), "the end")
    assert ended()
    assert str(node.worker.failure) == "out of memory"


def test_a_bad_parameter_is_refused_by_name_and_range(start):
    with pytest.raises(ConfigError, match=r"map\.voxel_size.*10"):
        start(**{"map.voxel_size": -1.0})
    with pytest.raises(ConfigError, match=r"update_rule.*'magic'.*ttt3r, cut3r"):
        start(update_rule="magic")


def test_every_parameter_has_a_description_and_cannot_be_changed_while_running(start):
    node, _ = start()
    names = [
        name
        for name in node.get_parameters_by_prefix("")
        if not name.startswith(("use_sim", "start_type"))
    ]
    assert "map.voxel_size" in names
    for name in names:
        described = node.describe_parameter(name)
        assert described.description, name
    result = node.set_parameters([Parameter("map.voxel_size", value=0.2)])[0]
    assert not result.successful


def test_a_frame_from_before_a_reset_does_not_open_the_new_map(start):
    gate, entered = threading.Event(), threading.Event()

    class SlowBackend(FakeBackend):
        def step(self, rgb, state):
            entered.set()
            assert gate.wait(30.0)
            return super().step(rgb, state)

    backend = SlowBackend()
    node, bench = start(backend)
    bench.listen("pose")
    bench.listen_to_diagnostics()
    connected(bench)
    bench.publish(image(0), SECOND)
    bench.spin_until(entered.is_set, "the first step")
    bench.publish(image(1), 2 * SECOND)
    bench.spin_until(lambda: bench.count("received") == 2, "the waiting frame")
    resetting = threading.Thread(target=node._restart)
    resetting.start()
    gate.set()
    resetting.join(30.0)
    bench.spin_until(lambda: bench.count("processed") + bench.count("dropped") >= 2, "both settled")
    walk(bench, 1, 3 * SECOND)
    # The waiting frame met either the old state, before the reset, or nobody.
    assert backend.shown in ([(0, 0), (0, 0)], [(0, 0), (1, 1), (0, 0)])
    assert len(node.reconstructor.trajectory) == 1


def test_when_overloaded_the_newest_image_wins_and_the_others_are_counted(start):
    gate = threading.Event()

    class SlowBackend(FakeBackend):
        def step(self, rgb, state):
            assert gate.wait(30.0)
            return super().step(rgb, state)

    backend = SlowBackend()
    _, bench = start(backend)
    bench.listen("pose")
    bench.listen_to_diagnostics()
    connected(bench)
    for index in range(6):
        bench.publish(image(index), (index + 1) * SECOND)
        bench.spin_until(lambda index=index: bench.count("received") == index + 1, "its arrival")
    gate.set()
    bench.spin_until(lambda: bench.count("processed") == 2, "the end")
    assert [mark for mark, _ in backend.shown] == [0, 5]
    assert bench.count("dropped") == 4
