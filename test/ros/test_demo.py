# SPDX-License-Identifier: Apache-2.0
"""The demo: sequence, DDS, node, results. One test runs it as users do; in the others the network is a fake."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from fakes import FakeBackend
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter

from ttt3r_ros.cli.main import main
from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.ros import messages
from ttt3r_ros.ros.harness import demo as demo_module
from ttt3r_ros.synthetic.room import ProceduralRoom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.ros
pytest.importorskip("evo")
pytest.importorskip("matplotlib")
ROOT = Path(__file__).resolve().parents[2]
FRAMES = 6


@pytest.fixture
def _environment(domain_id: int) -> Iterator[None]:
    """Restore the variables that the demo sets."""
    saved = dict(os.environ)
    os.environ["ROS_DOMAIN_ID"] = str(domain_id)
    yield
    os.environ.clear()
    os.environ.update(saved)


@pytest.fixture
def demo(_environment: None, tmp_path: Path) -> Callable[..., int]:
    """Run the demo in this process; return the exit status."""

    def run(*arguments: object) -> int:
        return main(["demo", "--output", str(tmp_path / "out"), *map(str, arguments)])

    return run


@contextmanager
def fake_node(parameters: dict[str, object], log: Path) -> Iterator[SimpleNamespace]:
    """Run a mapping node without a network on a thread of this process."""
    from ttt3r_ros.ros.mapping_node import MappingNode

    overrides = [
        Parameter(name, value=str(value) if isinstance(value, Path) else value)
        for name, value in parameters.items()
        if value != ""
    ]
    node = MappingNode(FakeBackend(), parameter_overrides=overrides)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        with suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield SimpleNamespace(process=SimpleNamespace(pid=0), log=log, require_alive=lambda: None)
    finally:
        executor.shutdown()
        thread.join()
        node.destroy_node()


@pytest.fixture
def _fake_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_module, "mapping_node", fake_node)


def run_process(domain_id: int, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the demo as a user does."""
    command = [sys.executable, "-m", "ttt3r_ros", "demo", "--output", folder / "out", *arguments]
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": str(domain_id),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=240,
        cwd=folder,
    )


def test_the_demo_maps_its_room_and_writes_all_results(domain_id, tmp_path):
    finished = run_process(domain_id, tmp_path, "--max-frames", FRAMES)
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.strip().splitlines()
    assert any(line.startswith("weights: ttt3r_small.safetensors") for line in lines)
    counts = f"{FRAMES} sent = {FRAMES} processed + 0 dropped + 0 skipped + 0 refused + 0 lost"
    assert counts in finished.stdout
    assert "ATE" in finished.stdout
    room = ProceduralRoom()
    assert [stamp for stamp, _ in read_tum(tmp_path / "out" / "trajectory.txt")] == [
        room.stamp_ns(i) for i in range(FRAMES)
    ]
    assert len(read_ply(tmp_path / "out" / "map.ply")[0]) > 125  # of 6 x 4480 pixels, in voxels of 5 cm
    preview = cv2.imread(str(tmp_path / "out" / "preview.png"))
    assert preview.shape[1] > 1000
    assert "ready; images are expected" in (tmp_path / "out" / "node.log").read_text()


@pytest.mark.usefixtures("_fake_network")
def test_unusable_images_of_a_folder_are_reported_and_the_others_mapped(demo, tmp_path, capfd):
    frames = [frame.rgb for frame in ProceduralRoom(frames=3, width=160, height=120).frames()]
    for index, rgb in enumerate(
        [frames[0], np.zeros_like(frames[0]), frames[1], np.full_like(frames[0], 255), frames[2]]
    ):
        cv2.imwrite(str(tmp_path / f"{index}.png"), rgb[..., ::-1])
    (tmp_path / "0a.png").write_bytes(b"no picture")
    assert demo("--images", tmp_path) == 0
    output = capfd.readouterr()
    assert "5 sent = 3 processed + 0 dropped + 2 skipped + 0 refused + 0 lost" in output.out
    assert "0a.png" in output.err
    assert "no ground truth" in output.out


@pytest.mark.usefixtures("_fake_network")
def test_a_video_is_mapped_into_a_folder_with_special_characters(demo, tmp_path, capfd):
    video = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 15, (160, 120))
    for frame in ProceduralRoom(frames=4, width=160, height=120).frames():
        video.write(frame.rgb[..., ::-1])
    video.release()
    assert demo("--video", tmp_path / "v.avi", "--output", tmp_path / "o v: {x}") == 0
    assert "4 sent = 4 processed" in capfd.readouterr().out
    assert (tmp_path / "o v: {x}" / "preview.png").is_file()


@pytest.mark.usefixtures("_fake_network")
def test_a_bag_is_mapped_and_compared_with_its_ground_truth(demo, tmp_path, capfd):
    write_bag(tmp_path / "bag", ProceduralRoom(frames=5, width=160, height=120))
    assert demo("--bag", tmp_path / "bag") == 0
    output = capfd.readouterr().out
    assert "5 sent = 5 processed" in output
    assert "5 poses" in output


def write_bag(path: Path, room: ProceduralRoom) -> None:
    """Record images and ground truth as ROS does."""
    from rclpy.serialization import serialize_message
    from rosbags.rosbag2 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(path, version=9) as writer:
        images = writer.add_connection("/camera/image_raw", "sensor_msgs/msg/Image", typestore=store)
        truth = writer.add_connection(
            "/ground_truth/pose", "geometry_msgs/msg/PoseStamped", typestore=store
        )
        for frame, (stamp_ns, T) in zip(room.frames(), room.ground_truth(), strict=True):
            image = messages.image(frame.rgb, messages.make_header(stamp_ns, "cam"))
            writer.write(images, stamp_ns, bytes(serialize_message(image)))
            pose = messages.pose_stamped(T, messages.make_header(stamp_ns, "world"))
            writer.write(truth, stamp_ns, bytes(serialize_message(pose)))


@pytest.mark.slow
def test_at_a_rate_above_the_nodes_the_counts_include_every_image(domain_id, tmp_path):
    """The images are read faster than the node maps them; rendering the room is slower than the node."""
    (tmp_path / "live").mkdir()
    rng = np.random.default_rng(0)
    for index in range(30):
        noise = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "live" / f"{index:03d}.bmp"), noise)
    finished = run_process(domain_id, tmp_path, "--images", tmp_path / "live", "--fps", 400)
    assert finished.returncode == 0, finished.stderr
    (line,) = (line for line in finished.stdout.splitlines() if line.startswith("images: 30 sent"))
    counts = [int(word) for word in line.split(";")[0].split() if word.isdigit()]
    assert counts[0] == sum(counts[1:])
    assert counts[2] > 0  # dropped


def test_every_invalid_argument_is_reported_with_its_value(demo, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    cases = {
        ("--images", "absent"): "absent",
        ("--video", "absent.mp4"): "absent.mp4",
        ("--bag", "absent"): "absent",
        ("--weights", "absent.pth"): "absent.pth",
        ("--output", "file/below"): "file/below",
        ("--max-frames", "-1"): "-1",
        ("--fps", "-5"): "-5",
    }
    offenders = {}
    for arguments, value in cases.items():
        try:
            status = demo(*arguments)
        except SystemExit as exit_:  # raised by argparse
            status = exit_.code
        text = capfd.readouterr().err
        is_reported = value in (text.strip().splitlines() or [""])[-1]
        if status not in (1, 2) or not is_reported or "Traceback" in text:
            offenders[arguments] = status, text
    assert not offenders
