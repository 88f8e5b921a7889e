# SPDX-License-Identifier: Apache-2.0
"""Start and end of the node, and large images between two processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import rclpy
import torch
from graph import START_S, PeerNode, node_process
from rclpy.parameter import Parameter

from ttt3r_ros.errors import DeviceError, Ttt3rError
from ttt3r_ros.ros import startup_monitor
from ttt3r_ros.ros.mapping_node import MappingNode
from ttt3r_ros.ros.middleware import PROFILE

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[2]


def test_with_the_packages_profile_large_best_effort_images_arrive(domain_id):
    """Publisher and subscriber are processes, because both need the profile before rclpy.init."""
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
        "    numbers = itertools.count(1)\n"  # the stamps are numbers: a late image is not a lost image
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


def test_a_missing_checkpoint_ends_the_process_with_one_line(domain_id, tmp_path):
    with node_process(domain_id, tmp_path / "log", model_path=tmp_path / "absent.pth") as process:
        process.wait(START_S)
    text = (tmp_path / "log").read_text()
    assert process.returncode == 1
    assert "absent.pth" in text.strip().splitlines()[-1]
    assert "Traceback" not in text


def start_with(context, **parameters: object) -> None:
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    MappingNode(context=context, parameter_overrides=overrides)


def test_a_hostile_checkpoint_runs_no_code_and_the_error_has_its_name(context, tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'executed'}",)

    torch.save({"model": Hostile(), "args": Hostile()}, tmp_path / "hostile.pth")
    with pytest.raises(Ttt3rError, match=r"hostile\.pth"):
        start_with(context, model_path=str(tmp_path / "hostile.pth"))
    assert not (tmp_path / "executed").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_device_cuda_without_cuda_is_an_error(context):
    with pytest.raises(DeviceError, match="cuda"):
        start_with(context, device="cuda")


def test_a_second_node_of_the_same_name_is_reported_while_images_are_missing(
    start, domain_id, capfd, monkeypatch
):
    monkeypatch.setattr(startup_monitor, "PERIOD_S", 0.1)
    _, peer = start()
    other = rclpy.context.Context()
    rclpy.init(args=[], context=other, domain_id=domain_id)
    duplicate = rclpy.create_node("mapping_node", context=other)
    log: list[str] = []

    def is_reported() -> bool:
        log.append(capfd.readouterr().err)
        text = "".join(log)
        return "waiting for images on /image" in text and "2 nodes have the name /mapping_node" in text

    peer.spin_until(is_reported, lambda: "".join(log))
    duplicate.destroy_node()
    other.try_shutdown()


def test_a_second_interrupt_does_not_interrupt_the_cleanup(context, domain_id, tmp_path):
    peer = PeerNode(context)
    log = tmp_path / "log"
    with node_process(domain_id, log) as process:
        peer.spin_until(lambda: "ready; " in log.read_text(), "the node", START_S)
        for _ in range(5):
            process.send_signal(signal.SIGINT)
        process.wait(30.0)
    peer.close()
    assert process.returncode == 0
    assert "Traceback" not in log.read_text()
