# SPDX-License-Identifier: Apache-2.0
"""Bags as image sequences, without ROS: rosbag2 (sqlite3, MCAP) and ROS 1, by the rosbags library."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from ttt3r_ros.errors import ImageError, SourceError, Ttt3rError
from ttt3r_ros.geometry import pose_matrix
from ttt3r_ros.io import pixels
from ttt3r_ros.types import Frame, Intrinsics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rosbags.interfaces import Connection

    from ttt3r_ros.io.sequence import StampedPose
    from ttt3r_ros.types import UInt8Array

logger = logging.getLogger(__name__)

_IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_POSE_TYPE = "geometry_msgs/msg/PoseStamped"


class Bag:
    """The images of one topic, with its calibration and, from a pose topic named *ground*truth*, the poses."""

    def __init__(self, path: Path, image_topic: str = "") -> None:
        self._path = path
        with self._opened() as reader:
            self._topic = self._image_topic(reader, image_topic)
            self._count = sum(c.msgcount for c in reader.connections if c.topic == self._topic)
            self._intrinsics = _calibration(reader, self._topic)
            self._truth = _poses(reader)

    def __len__(self) -> int:
        return self._count

    @property
    def image_topic(self) -> str:
        """Return the topic the images come from."""
        return self._topic

    def frames(self) -> Iterator[Frame]:
        """Decode the images in the order they were recorded; a broken one is left out with a warning.

        Raises:
            SourceError: none of the images can be decoded, or the bag breaks off.
        """
        usable = 0
        with self._opened() as reader:
            connections = [c for c in reader.connections if c.topic == self._topic]
            for connection, _, raw in reader.messages(connections):
                msg: Any = reader.deserialize(raw, connection.msgtype)
                stamp_ns = _stamp_ns(msg)
                try:
                    rgb = _decoded(msg, connection.msgtype)
                except ImageError as error:
                    logger.warning("%s at %d is left out: %s", self._topic, stamp_ns, error)
                    continue
                usable += 1
                yield Frame(stamp_ns, msg.header.frame_id, rgb, self._intrinsics)
        if not usable:
            msg = f"{self._path}: none of {self._count} images on {self._topic} can be decoded"
            raise SourceError(msg)

    def ground_truth(self) -> list[StampedPose]:
        """Return the recorded camera poses, if there were any."""
        return self._truth

    @contextmanager
    def _opened(self) -> Iterator[AnyReader]:
        try:
            # Bags of ROS 2 Humble do not carry the definitions of their messages.
            with AnyReader([self._path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
                yield reader
        except Ttt3rError:
            raise
        except Exception as error:  # each storage format raises errors of its own, also while it is read
            msg = f"{self._path} cannot be read as a bag: {error}"
            raise SourceError(msg) from error

    def _image_topic(self, reader: AnyReader, wanted: str) -> str:
        # Several publishers of one topic are several connections.
        images = sorted({c.topic for c in reader.connections if c.msgtype in _IMAGE_TYPES})
        chosen = [topic for topic in images if not wanted or topic == wanted]
        if len(chosen) == 1:
            return chosen[0]
        topics = ", ".join(images) or "none"
        problem = f"no image topic {wanted}" if wanted else f"{len(chosen)} image topics; name one"
        msg = f"{self._path}: {problem} (image topics: {topics})"
        raise SourceError(msg)


def _decoded(msg: Any, msgtype: str) -> UInt8Array:
    if msgtype.endswith("CompressedImage"):
        return pixels.decode_compressed(msg.format, msg.data)
    raw = pixels.RawImage(
        msg.encoding, msg.width, msg.height, msg.step, bool(msg.is_bigendian), msg.data
    )
    return pixels.decode_image(raw, pixels.check_image(raw))


def _calibration(reader: AnyReader, image_topic: str) -> Intrinsics | None:
    """Read the first CameraInfo that stands beside the image topic."""
    namespaces = [image_topic.rsplit("/", depth)[0] for depth in (1, 2)]
    names = {f"{namespace}/camera_info" for namespace in namespaces}
    connections = [c for c in reader.connections if c.topic in names]
    for connection, _, raw in _messages(reader, connections):
        info: Any = reader.deserialize(raw, connection.msgtype)
        k = info.k if hasattr(info, "k") else info.K  # ROS 1 spells it in capitals
        d = info.d if hasattr(info, "d") else info.D
        if k[0] <= 0:
            return None
        fx, cx, fy, cy = (float(k[index]) for index in (0, 2, 4, 5))
        distortion = tuple(float(value) for value in d)
        return Intrinsics(fx, fy, cx, cy, info.width, info.height, info.distortion_model, distortion)
    return None


def _poses(reader: AnyReader) -> list[StampedPose]:
    connections = [
        c
        for c in reader.connections
        if c.msgtype == _POSE_TYPE and "ground" in c.topic and "truth" in c.topic
    ]
    poses = []
    for connection, _, raw in _messages(reader, connections):
        msg: Any = reader.deserialize(raw, connection.msgtype)
        position, q = msg.pose.position, msg.pose.orientation
        pose = np.array([position.x, position.y, position.z, q.w, q.x, q.y, q.z])
        poses.append((_stamp_ns(msg), pose_matrix(pose)))
    return poses


def _messages(
    reader: AnyReader, connections: list[Connection]
) -> Iterable[tuple[Connection, int, bytes]]:
    # To the reader, no connections means all of them.
    return reader.messages(connections) if connections else ()


def _stamp_ns(msg: Any) -> int:
    return int(msg.header.stamp.sec) * 10**9 + int(msg.header.stamp.nanosec)
