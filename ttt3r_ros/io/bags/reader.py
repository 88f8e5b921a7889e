# SPDX-License-Identifier: Apache-2.0
"""Bags as image sequences, without ROS: rosbag2 (sqlite3, MCAP) and ROS 1, with the rosbags library."""

from __future__ import annotations

import logging
from functools import cached_property
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import AmbiguousSource, ImageError, SourceError
from ttt3r_ros.geometry import rotation_from_quaternion
from ttt3r_ros.images import encodings as pixels
from ttt3r_ros.images.camera_info import intrinsics_from_camera_info
from ttt3r_ros.io.bags.storage import open_bag, unreadable_bag
from ttt3r_ros.io.bags.transforms import BagTransforms, RecordedTransform
from ttt3r_ros.io.sequence import ALL_FRAMES, FrameSelection
from ttt3r_ros.types import Frame, Intrinsics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rosbags.highlevel import AnyReader
    from rosbags.interfaces import Connection

    from ttt3r_ros.io.sequence import StampedPose
    from ttt3r_ros.types import Float64Array, UInt8Array

logger = logging.getLogger(__name__)

_IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
_POSE_TYPE = "geometry_msgs/msg/PoseStamped"
_TRANSFORM_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_DEPTH_ENCODINGS = ("16UC1", "mono16")  # if the topic's name contains "depth"; else a gray camera


class Bag:
    """The images of one topic with calibration, and ground truth from a pose topic named *ground*truth*."""

    def __init__(
        self,
        path: Path,
        image_topic: str = "",
        camera_info_topic: str = "",
        selection: FrameSelection = ALL_FRAMES,
    ) -> None:
        """Open a bag; the defaults are its only image topic and the CameraInfo topic beside that.

        Raises:
            SourceError: the bag cannot be read, or does not have the topic.
            AmbiguousSource: the bag has several image topics, and none is given.
        """
        self.name = path.resolve().name
        self.skipped = 0
        self._path = path
        self._selection = selection
        with open_bag(path) as bag:
            if bag.problem:
                logger.warning("%s is truncated (%s); its whole records are read", path, bag.problem)
            self._topic = _image_topic(bag.reader, image_topic, path)
            self._info_topics = _info_topics(bag.reader, self._topic, camera_info_topic, path)
            self._count = sum(c.msgcount for c in bag.reader.connections if c.topic == self._topic)
            self._camera_frame = _camera_frame(bag.reader, self._topic)
            self._truth = _ground_truth(bag.reader)

    def __len__(self) -> int:
        return self._selection.count(self._count)

    @property
    def image_topic(self) -> str:
        """Return the image topic."""
        return self._topic

    @property
    def camera_frame(self) -> str:
        """Return header.frame_id of the first image."""
        return self._camera_frame

    def frames(self) -> Iterator[Frame]:
        """Decode the images in the order of recording; a damaged one is skipped with a warning.

        An image has the last calibration recorded before it, or the first one of the bag.

        Raises:
            SourceError: no image can be decoded, or, after the last image, the bag is truncated.
        """
        self.skipped = usable = 0
        with open_bag(self._path) as bag:
            for connection, raw, intrinsics in self._selection.apply(self._images(bag.reader)):
                frame = self._frame(bag.reader, connection, raw, intrinsics)
                if frame is None:
                    self.skipped += 1
                    continue
                usable += 1
                yield frame
            if bag.problem and not self._is_finished(usable):
                raise unreadable_bag(
                    self._path, f"it is truncated after {usable} images ({bag.problem})"
                )
        if not usable:
            msg = f"{self._path}: none of {self.skipped} images on {self._topic} can be decoded"
            raise SourceError(msg)

    def ground_truth(self) -> list[StampedPose]:
        """Return the recorded camera poses."""
        return self._truth

    def transforms(self) -> BagTransforms | None:
        """Return the transforms of /tf and /tf_static, None without these topics."""
        return self._transforms

    @cached_property
    def _transforms(self) -> BagTransforms | None:
        with open_bag(self._path) as bag:
            connections = [c for c in bag.reader.connections if c.msgtype in _TRANSFORM_TYPES]
            return BagTransforms(_read_transforms(bag.reader, connections)) if connections else None

    def _is_finished(self, usable: int) -> bool:
        return bool(self._selection.max_frames) and usable + self.skipped >= self._selection.max_frames

    def _images(self, reader: AnyReader) -> Iterator[tuple[Connection, bytes, Intrinsics | None]]:
        infos = [c for c in reader.connections if c.topic in self._info_topics]
        first = next(iter(_messages(reader, infos)), None)
        intrinsics = _intrinsics(reader, first[0], first[2]) if first else None
        images = [c for c in reader.connections if c.topic == self._topic]
        for connection, _, raw in _messages(reader, images + infos):
            if connection.topic == self._topic:
                yield connection, raw, intrinsics
            else:
                intrinsics = _intrinsics(reader, connection, raw)

    def _frame(
        self, reader: AnyReader, connection: Connection, raw: bytes, intrinsics: Intrinsics | None
    ) -> Frame | None:
        msg = _deserialize(reader, connection, raw)
        if msg is None:
            return None
        stamp_ns = _stamp_ns(msg)
        try:
            rgb = _decode(msg, connection.msgtype)
        except ImageError as error:
            logger.warning("%s at %d is skipped: %s", self._topic, stamp_ns, error)
            return None
        return Frame(stamp_ns, msg.header.frame_id, rgb, intrinsics)


# --- topics ------------------------------------------------------------------------------------------


def _image_topic(reader: AnyReader, name: str, path: Path) -> str:
    # Each publisher of a topic has a connection.
    images = sorted({c.topic for c in reader.connections if c.msgtype in _IMAGE_TYPES})
    topics = ", ".join(images) or "none"
    if name:
        if name in images:
            return name
        msg = f"{path}: no image topic {name} (image topics: {topics})"
        raise SourceError(msg)
    cameras = [topic for topic in images if not _is_depth(reader, topic)] or images
    choices = [topic for topic in cameras if not _is_compressed_copy(topic, cameras)]
    if len(choices) == 1:
        return choices[0]
    if not choices:
        others = ", ".join(sorted({c.topic for c in reader.connections})) or "none"
        msg = f"{path} has no image topic (its topics: {others})"
        raise SourceError(msg)
    msg = f"{path}: {len(choices)} image topics; select one (image topics: {topics})"
    raise AmbiguousSource(msg, choices=choices, kind="image topic")


def _is_compressed_copy(topic: str, cameras: list[str]) -> bool:
    """Return whether a topic has the compressed images of another one."""
    return topic.endswith("/compressed") and topic.removesuffix("/compressed") in cameras


def _is_depth(reader: AnyReader, topic: str) -> bool:
    """Return whether the first message of a topic is a depth image."""
    connections = [c for c in reader.connections if c.topic == topic]
    msg = _first(reader, connections)
    if msg is None:
        return False
    if not hasattr(msg, "encoding"):
        return "compressedDepth" in msg.format
    return "FC" in msg.encoding or (msg.encoding in _DEPTH_ENCODINGS and "depth" in topic)


def _info_topics(reader: AnyReader, image_topic: str, name: str, path: Path) -> set[str]:
    """Return the possible names of the CameraInfo topic."""
    if not name:
        namespaces = [image_topic.rsplit("/", depth)[0] for depth in (1, 2)]
        return {f"{namespace}/camera_info" for namespace in namespaces}
    topics = sorted({c.topic for c in reader.connections if c.msgtype == _INFO_TYPE})
    if name not in topics:
        msg = f"{path}: no CameraInfo topic {name} (CameraInfo topics: {', '.join(topics) or 'none'})"
        raise SourceError(msg)
    return {name}


def _camera_frame(reader: AnyReader, image_topic: str) -> str:
    msg = _first(reader, [c for c in reader.connections if c.topic == image_topic])
    return "" if msg is None else str(msg.header.frame_id)


# --- messages ----------------------------------------------------------------------------------------


def _messages(
    reader: AnyReader, connections: list[Connection]
) -> Iterator[tuple[Connection, int, bytes]]:
    """Yield the messages in the order of recording; at equal times in the order of the files.

    `AnyReader.messages` orders those by memory address, which differs from run to run.
    """
    files: list[Any] = list(dict.fromkeys(c.owner for c in reader.connections))
    by_file = ([c for c in connections if c.owner is file] for file in files)
    streams = [
        file.messages(connections=selected)
        for file, selected in zip(files, by_file, strict=True)
        if selected  # an empty list selects all connections of the file
    ]
    yield from merge(*streams, key=itemgetter(1))


def _first(reader: AnyReader, connections: list[Connection]) -> Any:
    """Return the first readable message of the first five, None if all are damaged."""
    first = islice(_messages(reader, connections), 5)
    messages = (_deserialize(reader, connection, raw) for connection, _, raw in first)
    return next((msg for msg in messages if msg is not None), None)


def _deserialize(reader: AnyReader, connection: Connection, raw: bytes) -> Any:
    """Return a message; None, with a warning, if it is damaged."""
    try:
        return reader.deserialize(raw, connection.msgtype)
    except Exception as error:  # damaged bytes raise errors of many types
        logger.warning("a message of %s is damaged and skipped: %s", connection.topic, error)
        return None


def _decode(msg: Any, msgtype: str) -> UInt8Array:
    if msgtype.endswith("CompressedImage"):
        return pixels.decode_compressed(msg.format, msg.data)
    raw = pixels.RawImage(
        msg.encoding, msg.width, msg.height, msg.step, bool(msg.is_bigendian), msg.data
    )
    return pixels.decode_image(raw, pixels.validate_image(raw))


def _intrinsics(reader: AnyReader, connection: Connection, raw: bytes) -> Intrinsics | None:
    return intrinsics_from_camera_info(reader.deserialize(raw, connection.msgtype))


def _ground_truth(reader: AnyReader) -> list[StampedPose]:
    connections = [
        c
        for c in reader.connections
        if c.msgtype == _POSE_TYPE and "ground" in c.topic and "truth" in c.topic
    ]
    poses = []
    for connection, _, raw in _messages(reader, connections):
        msg: Any = reader.deserialize(raw, connection.msgtype)
        T = _matrix(msg.pose.position, msg.pose.orientation)
        if T is not None:
            poses.append((_stamp_ns(msg), T))
    return poses


def _read_transforms(reader: AnyReader, connections: list[Connection]) -> Iterator[RecordedTransform]:
    for connection, _, raw in _messages(reader, connections):
        is_static = connection.topic.endswith("static")
        msg: Any = reader.deserialize(raw, connection.msgtype)
        for stamped in msg.transforms:
            T = _matrix(stamped.transform.translation, stamped.transform.rotation)
            parent, child = (
                name.lstrip("/") for name in (stamped.header.frame_id, stamped.child_frame_id)
            )
            if T is not None and parent and child and parent != child:
                yield RecordedTransform(parent, child, T, None if is_static else _stamp_ns(stamped))


def _matrix(position: Any, q: Any) -> Float64Array | None:
    """Return a pose (4, 4), None if it is not finite or its quaternion is invalid."""
    T: Float64Array = np.eye(4)
    T[:3, 3] = position.x, position.y, position.z
    try:
        T[:3, :3] = rotation_from_quaternion((q.x, q.y, q.z, q.w))
    except ValueError:
        return None
    return T if np.isfinite(T).all() else None


def _stamp_ns(msg: Any) -> int:
    return int(msg.header.stamp.sec) * 10**9 + int(msg.header.stamp.nanosec)
