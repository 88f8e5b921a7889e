# SPDX-License-Identifier: Apache-2.0
"""The check of a bag before a launch: refusals name the topic and the arguments for the images of the bag."""

from __future__ import annotations

import pytest
from bag_recording import COMPRESSED, IMAGE, INFO, camera_info, images, png, raw_image, record

from ttt3r_ros.errors import SourceError
from ttt3r_ros.ros.launch_support.bag_check import missing_calibrations, require_images


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """A bag with a raw camera, a compressed one and a calibration."""
    messages = [
        *images("/front/image_raw"),
        ("/left/image_raw/compressed", COMPRESSED, png(0)),
        ("/front/camera_info", INFO, camera_info()),
    ]
    return record(tmp_path_factory.mktemp("bags") / "walk", messages)


def test_topics_of_the_bag_are_accepted(bag):
    require_images(bag, ["/front/image_raw"], "raw")
    require_images(bag, ["/left/image_raw"], "compressed")


@pytest.mark.parametrize(
    ("topic", "transport", "remedy"),
    [
        ("/left/image_raw", "raw", "image_topic:=/left/image_raw image_transport:=compressed"),
        ("/front/image_raw", "compressed", "image_topic:=/front/image_raw image_transport:=raw"),
        ("/camera/image_raw", "raw", "select one with image_topic"),
        ("/left/image_raw/compressed", "raw", "select one with image_topic"),
        ("/front/camera_info", "raw", "/front/image_raw (Image)"),
    ],
)
def test_a_topic_without_images_of_the_transport_is_refused(bag, topic, transport, remedy):
    with pytest.raises(SourceError) as found:
        require_images(bag, [topic], transport)
    line = str(found.value)
    assert str(bag) in line
    assert topic in line
    assert remedy in line
    assert "\n" not in line


def test_every_camera_is_checked(bag):
    with pytest.raises(SourceError, match="/left/image "):
        require_images(bag, ["/front/image_raw", "/left/image"], "raw")


@pytest.mark.parametrize(
    ("messages", "remedy"),
    [
        ([("/cam/a/compressed", COMPRESSED, png(0))], "image_topic:=/cam/a image_transport:=compressed"),
        ([("/cam/a", IMAGE, raw_image(0))], "image_topic:=/cam/a image_transport:=raw"),
    ],
)
def test_the_only_camera_is_suggested(tmp_path, messages, remedy):
    only = record(tmp_path / "only", messages)
    with pytest.raises(SourceError, match=remedy):
        require_images(only, ["/camera/image_raw"], "raw")


def test_a_folder_that_is_no_bag_is_refused(tmp_path):
    with pytest.raises(SourceError, match=str(tmp_path)):
        require_images(tmp_path, ["/camera/image_raw"], "raw")


def test_missing_calibrations_are_listed(bag):
    assert missing_calibrations(bag, ["/front/camera_info", "/left/camera_info"]) == [
        "/left/camera_info"
    ]
