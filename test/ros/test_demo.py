# SPDX-License-Identifier: Apache-2.0
"""The demo from end to end: sequence, DDS, node process, results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.ros import messages
from ttt3r_ros.synthetic.room import ProceduralRoom

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.ros
pytest.importorskip("evo")
pytest.importorskip("matplotlib")
ROOT = Path(__file__).resolve().parents[2]
FRAMES = 6


@pytest.fixture
def demo(domain_id: int, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "ttt3r_ros",
            "demo",
            "--output",
            str(tmp_path / "out"),
            *map(str, arguments),
        ]
        environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(domain_id),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        }
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=240,
            cwd=tmp_path,
        )

    return run


def test_the_embedded_sequence_goes_all_the_way(demo, tmp_path):
    finished = demo("--max-frames", FRAMES)
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.strip().splitlines()
    assert any(line.startswith("weights: ttt3r_small.safetensors") for line in lines)
    assert (
        f"images: {FRAMES} sent = {FRAMES} processed + 0 dropped + 0 skipped + 0 refused + 0 lost"
        in finished.stdout
    )
    assert "ATE" in finished.stdout
    room = ProceduralRoom()
    assert [stamp for stamp, _ in read_tum(tmp_path / "out" / "trajectory.txt")] == [
        room.stamp_ns(i) for i in range(FRAMES)
    ]
    assert len(read_ply(tmp_path / "out" / "map.ply")[0]) > 125  # of 6 x 4480 pixels, in voxels of 5 cm
    picture = cv2.imread(str(tmp_path / "out" / "preview.png"))
    assert picture.shape[1] > 1000
    assert "ready; images are expected" in (tmp_path / "out" / "node.log").read_text()


def test_of_a_folder_without_ground_truth_what_cannot_be_used_is_told_and_does_not_stop_the_others(
    demo, tmp_path
):
    frames = [frame.rgb for frame in ProceduralRoom(frames=3).frames()]
    for index, rgb in enumerate(
        [frames[0], np.zeros_like(frames[0]), frames[1], np.full_like(frames[0], 255), frames[2]]
    ):
        cv2.imwrite(str(tmp_path / f"{index}.png"), rgb[..., ::-1])
    (tmp_path / "0a.png").write_bytes(b"no picture")
    finished = demo("--images", tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "images: 5 sent = 3 processed + 0 dropped + 2 skipped + 0 refused + 0 lost" in finished.stdout
    assert "0a.png" in finished.stderr
    assert "no ground truth" in finished.stdout


def test_a_video_is_mapped_into_a_folder_of_any_name(demo, tmp_path):
    video = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 15, (320, 240))
    for frame in ProceduralRoom(frames=4).frames():
        video.write(frame.rgb[..., ::-1])
    video.release()
    finished = demo("--video", tmp_path / "v.avi", "--output", tmp_path / "o v: {x}")
    assert finished.returncode == 0, finished.stderr
    assert "images: 4 sent = 4 processed" in finished.stdout
    assert (tmp_path / "o v: {x}" / "preview.png").is_file()


def test_a_bag_is_mapped_and_compared_with_its_ground_truth(demo, tmp_path):
    write_bag(tmp_path / "bag", ProceduralRoom(frames=5))
    finished = demo("--bag", tmp_path / "bag")
    assert finished.returncode == 0, finished.stderr
    assert "images: 5 sent = 5 processed" in finished.stdout
    assert "5 poses" in finished.stdout


def write_bag(path: Path, room: ProceduralRoom) -> None:
    """Record images and ground truth as ROS would."""
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
def test_a_live_rate_is_accounted_for_to_the_last_image(demo, tmp_path):
    """Images that are read faster than the node maps them; rendering the room would be slower than the node."""
    (tmp_path / "live").mkdir()
    rng = np.random.default_rng(0)
    for index in range(30):
        noise = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "live" / f"{index:03d}.bmp"), noise)
    finished = demo("--images", tmp_path / "live", "--fps", 400)
    assert finished.returncode == 0, finished.stderr
    (line,) = (line for line in finished.stdout.splitlines() if line.startswith("images: 30 sent"))
    counts = [int(word) for word in line.split(";")[0].split() if word.isdigit()]
    assert counts[0] == sum(counts[1:])
    assert counts[2] > 0  # dropped


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--images", "absent"], "absent is not a folder"),
        (["--video", "absent.mp4"], "absent.mp4 is not a file"),
        (["--bag", "absent"], "absent"),
        (["--weights", "absent.pth"], "absent.pth"),
        (["--output", "file/below"], "file/below"),
        (["--max-frames", "-1"], "-1 is negative"),
        (["--fps", "-5"], "-5 is not a rate from 0 up to 1000 Hz"),
    ],
)
def test_what_cannot_be_done_is_one_readable_line(demo, tmp_path, arguments, words):
    (tmp_path / "file").touch()
    finished = demo(*arguments)
    assert finished.returncode in (1, 2)
    assert words in finished.stderr.strip().splitlines()[-1]
    assert "Traceback" not in finished.stderr
