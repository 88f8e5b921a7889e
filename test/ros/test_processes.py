# SPDX-License-Identifier: Apache-2.0
"""The node as users run it: a process of its own, the real network, real DDS between the two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from graph import START_S, PeerNode, node_process

from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network
from ttt3r_ros.ros.image_messages import depth_from_image
from ttt3r_ros.ros.middleware import PROFILE
from ttt3r_ros.synthetic.room import ProceduralRoom

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[2]
SECOND = 10**9


def refused_start(domain_id: int, tmp_path: Path, **parameters: object) -> tuple[int, str]:
    """Run a node that must not start; return its status and what it printed."""
    with node_process(domain_id, tmp_path / "log", **parameters) as process:
        process.wait(START_S)
    return process.returncode, (tmp_path / "log").read_text()


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_images_become_poses_depth_and_a_map_in_another_process(context, domain_id, tmp_path):
    peer = PeerNode(context)
    parameters = {
        "image_qos": "reliable",
        "diagnostics_period": 0.2,
        "output_directory": tmp_path,
        "reset_interval": 3,
    }
    with node_process(domain_id, tmp_path / "log", **parameters) as process:
        peer.subscribe("pose", "depth", "points")
        peer.subscribe_to_diagnostics()
        peer.spin_until(
            lambda: peer.images.get_subscription_count() or process.poll() is not None,
            "the node",
            START_S,
        )
        peer.wait_for_outputs()
        room = ProceduralRoom(frames=5, width=320, height=240)
        for index, frame in enumerate(room.frames()):
            peer.publish(frame.rgb, frame.stamp_ns)
            peer.spin_until(lambda index=index: len(peer.received["pose"]) == index + 1, "a pose")
        peer.spin_until(lambda: peer.received["depth"] and peer.received["points"], "depth and points")
        peer.spin_until(lambda: peer.count("processed") == 5, "the account")
        assert peer.diagnostics()["segment"] == "1"
        assert 50 < int(peer.diagnostics()["fused_pixel_percent"]) <= 100
        assert peer.diagnostics()["pose_source"] == "visual_odometry"
        assert int(peer.diagnostics()["landmarks"]) > 50
        assert peer.diagnostics()["weights"].startswith("ttt3r_small.safetensors")
        assert peer.call("save_trajectory").success
        assert peer.call("save_map").success
    peer.close()
    assert process.returncode == 0, (tmp_path / "log").read_text()
    depth = depth_from_image(peer.received["depth"][-1])
    assert depth.shape == tuple(load_network(PACKAGE_WEIGHTS).network.config.img_size)
    assert np.isfinite(depth).mean() > 0.9
    assert [stamp for stamp, _ in read_tum(tmp_path / "trajectory.txt")] == [
        room.stamp_ns(i) for i in range(5)
    ]
    assert (tmp_path / "map.ply").stat().st_size > 1_250


def test_large_best_effort_images_all_arrive_with_the_shipped_profile(domain_id, tmp_path):
    """The profile must be in force in both processes, so the sender is a process too."""
    code = (
        "import itertools, os, sys, time\n"
        "from ttt3r_ros.ros.middleware import use_large_image_profile\n"
        "use_large_image_profile()\n"
        "import numpy as np, rclpy\n"
        "from sensor_msgs.msg import Image\n"
        "from rclpy.qos import qos_profile_sensor_data as best_effort\n"
        "from ttt3r_ros.ros import messages\n"
        "rclpy.init()\n"
        "node = rclpy.create_node(sys.argv[1])\n"
        "if sys.argv[1] == 'camera':\n"
        "    publisher = node.create_publisher(Image, 'big', best_effort)\n"
        "    while not publisher.get_subscription_count(): rclpy.spin_once(node, timeout_sec=0.1)\n"
        "    rgb = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), np.uint8)\n"
        "    numbers = itertools.count(1)\n"  # a stamp is a number: a late image is not a lost one
        "    def send():\n"
        "        publisher.publish(messages.image(rgb, messages.make_header(next(numbers), '')))\n"
        "    timer = node.create_timer(1 / 15, send)\n"
        "    deadline = time.monotonic() + 60\n"
        "    while publisher.get_subscription_count() and time.monotonic() < deadline:\n"
        "        rclpy.spin_once(node, timeout_sec=0.1)\n"
        "else:\n"
        "    stamps = []\n"
        "    def take(message): stamps.append(messages.stamp_to_ns(message.header.stamp))\n"
        "    node.create_subscription(Image, 'big', take, best_effort)\n"
        "    deadline = time.monotonic() + 60\n"
        "    while len(stamps) < 30 and time.monotonic() < deadline: rclpy.spin_once(node, timeout_sec=0.1)\n"
        "    print(len(stamps), stamps[-1] - stamps[0] + 1 - len(stamps))\n"
    )
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": str(domain_id),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        environment.pop(name, None)
    assert PROFILE.is_file()
    camera = subprocess.Popen([sys.executable, "-c", code, "camera"], env=environment)
    try:
        viewer = subprocess.run(
            [sys.executable, "-c", code, "viewer"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
        )
    finally:
        camera.wait(60.0)
    received, lost = (int(word) for word in viewer.stdout.split())
    assert received >= 30
    assert lost <= 1


def test_a_missing_checkpoint_is_one_readable_line(domain_id, tmp_path):
    status, text = refused_start(domain_id, tmp_path, model_path=tmp_path / "absent.pth")
    assert status == 1
    assert "absent.pth" in last_line(text)
    assert "Traceback" not in text


def test_a_hostile_checkpoint_runs_nothing_and_is_one_readable_line(domain_id, tmp_path):
    import torch

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'owned'}",)

    torch.save({"model": Hostile(), "args": Hostile()}, tmp_path / "hostile.pth")
    status, text = refused_start(domain_id, tmp_path, model_path=tmp_path / "hostile.pth")
    assert status == 1
    assert "hostile.pth" in last_line(text)
    assert "Traceback" not in text
    assert not (tmp_path / "owned").exists()


def test_asking_for_cuda_where_there_is_none_is_an_error(domain_id, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    status, text = refused_start(domain_id, tmp_path, device="cuda")
    assert status == 1
    assert "device 'cuda'" in last_line(text)
    assert "auto" in last_line(text)


def test_without_images_the_log_says_what_is_missing_and_warns_of_a_second_node_of_the_same_name(
    context, domain_id, tmp_path
):
    peer = PeerNode(context)
    with (
        node_process(domain_id, tmp_path / "first"),
        node_process(domain_id, tmp_path / "second") as second,
    ):
        log = tmp_path / "second"
        peer.spin_until(
            lambda: " nodes have the name /mapping_node" in log.read_text() or second.poll() is not None,
            "the warning",
            START_S,
        )
        assert second.poll() is None
        for name in ("first", "second"):
            peer.spin_until(
                lambda name=name: "waiting for images on /image" in (tmp_path / name).read_text(),
                "what is missing",
            )
    peer.close()


def test_a_second_interrupt_does_not_disturb_the_tidying_up(context, domain_id, tmp_path):
    peer = PeerNode(context)
    log = tmp_path / "log"
    with node_process(domain_id, log) as process:
        peer.spin_until(lambda: "ready; images" in log.read_text(), "the node", START_S)
        for _ in range(5):
            process.send_signal(signal.SIGINT)
        process.wait(30.0)
    peer.close()
    assert process.returncode == 0
    assert "Traceback" not in log.read_text()
