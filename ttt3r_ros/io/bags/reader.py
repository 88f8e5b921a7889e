# SPDX-License-Identifier: Apache-2.0
"""Bags as image sequences, without ROS: rosbag2 (sqlite3, MCAP) and ROS 1, by the rosbags library."""

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
_DEPTH_ENCODINGS = ("16UC1", "mono16")  # of a topic with depth in its name; else a gray camera's


class Bag:
    """The images of one topic, with its calibration and, from a pose topic named *ground*truth*, the poses."""

    def __init__(
        self,
        path: Path,
        image_topic: str = "",
        camera_info_topic: str = "",
        selection: FrameSelection = ALL_FRAMES,
    ) -> None:
        """Look into a bag; without names the only image topic is taken, and the calibration beside it.

        Raises:
            SourceError: the bag cannot be read, or has no such topic.
            AmbiguousSource: it has several image topics and none is named.
        """
        self.name = path.resolve().name
        self.skipped = 0
        self._path = path
        self._selection = selection
        with open_bag(path) as bag:
            if bag.problem:
                logger.warning("%s breaks off (%s); what is whole in it is read", path, bag.problem)
            self._topic = _image_topic(bag.reader, image_topic, path)
            self._info_topics = _info_topics(bag.reader, self._topic, camera_info_topic, path)
            self._count = sum(c.msgcount for c in bag.reader.connections if c.topic == self._topic)
            self._camera_frame = _camera_frame(bag.reader, self._topic)
            self._truth = _poses(bag.reader)

    def __len__(self) -> int:
        return self._selection.count(self._count)

    @property
    def image_topic(self) -> str:
        """Return the topic the images come from."""
        return self._topic

    @property
    def camera_frame(self) -> str:
        """Return the frame that the first image names."""
        return self._camera_frame

    def frames(self) -> Iterator[Frame]:
        """Decode the images in the order they were recorded; a broken one is left out with a warning.

        An image has the calibration that was recorded last before it, the first ones that which came next.

        Raises:
            SourceError: none of the images can be decoded, or the bag breaks off.
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
                raise unreadable_bag(self._path, f"it breaks off after {usable} images ({bag.problem})")
        if not usable:
            msg = f"{self._path}: none of {self.skipped} images on {self._topic} can be decoded"
            raise SourceError(msg)

    def ground_truth(self) -> list[StampedPose]:
        """Return the recorded camera poses, if there were any."""
        return self._truth

    def transforms(self) -> BagTransforms | None:
        """Return what /tf and /tf_static said, nothing if there are no such topics."""
        return self._transforms

    @cached_property
    def _transforms(self) -> BagTransforms | None:
        with open_bag(self._path) as bag:
            connections = [c for c in bag.reader.connections if c.msgtype in _TRANSFORM_TYPES]
            return BagTransforms(_recorded(bag.reader, connections)) if connections else None

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
        msg = _deserialized(reader, connection, raw)
        if msg is None:
            return None
        stamp_ns = _stamp_ns(msg)
        try:
            rgb = _decoded(msg, connection.msgtype)
        except ImageError as error:
            logger.warning("%s at %d is left out: %s", self._topic, stamp_ns, error)
            return None
        return Frame(stamp_ns, msg.header.frame_id, rgb, intrinsics)


# --- topics ------------------------------------------------------------------------------------------


def _image_topic(reader: AnyReader, wanted: str, path: Path) -> str:
    # Several publishers of one topic are several connections.
    images = sorted({c.topic for c in reader.connections if c.msgtype in _IMAGE_TYPES})
    topics = ", ".join(images) or "none"
    if wanted:
        if wanted in images:
            return wanted
        msg = f"{path}: no image topic {wanted} (image topics: {topics})"
        raise SourceError(msg)
    cameras = [topic for topic in images if not _is_depth(reader, topic)] or images
    chosen = [topic for topic in cameras if not _is_copy(topic, cameras)]
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        others = ", ".join(sorted({c.topic for c in reader.connections})) or "none"
        msg = f"{path} has no image topic (its topics: {others})"
        raise SourceError(msg)
    msg = f"{path}: {len(chosen)} image topics; name one (image topics: {topics})"
    raise AmbiguousSource(msg, choices=chosen, kind="image topic")


def _is_copy(topic: str, cameras: list[str]) -> bool:
    """Tell whether a topic has the images of another, compressed."""
    return topic.endswith("/compressed") and topic.removesuffix("/compressed") in cameras


def _is_depth(reader: AnyReader, topic: str) -> bool:
    """Tell from its first message whether a topic has depths, which the demand for one camera must not count."""
    connections = [c for c in reader.connections if c.topic == topic]
    msg = _first(reader, connections)
    if msg is None:
        return False
    if not hasattr(msg, "encoding"):
        return "compressedDepth" in msg.format
    return "FC" in msg.encoding or (msg.encoding in _DEPTH_ENCODINGS and "depth" in topic)


def _info_topics(reader: AnyReader, image_topic: str, wanted: str, path: Path) -> set[str]:
    """Return the names under which the calibration of the images may be."""
    if not wanted:
        namespaces = [image_topic.rsplit("/", depth)[0] for depth in (1, 2)]
        return {f"{namespace}/camera_info" for namespace in namespaces}
    topics = sorted({c.topic for c in reader.connections if c.msgtype == _INFO_TYPE})
    if wanted not in topics:
        msg = f"{path}: no CameraInfo topic {wanted} (CameraInfo topics: {', '.join(topics) or 'none'})"
        raise SourceError(msg)
    return {wanted}


def _camera_frame(reader: AnyReader, image_topic: str) -> str:
    msg = _first(reader, [c for c in reader.connections if c.topic == image_topic])
    return "" if msg is None else str(msg.header.frame_id)


# --- messages ----------------------------------------------------------------------------------------


def _messages(
    reader: AnyReader, connections: list[Connection]
) -> Iterator[tuple[Connection, int, bytes]]:
    """Return the messages in the order of their recording; of several files at one time, the first file's first.

    The reader's own way would order those by addresses in memory, another order each time.
    """
    files: list[Any] = list(dict.fromkeys(c.owner for c in reader.connections))
    owned = ([c for c in connections if c.owner is file] for file in files)
    streams = [
        file.messages(connections=own)
        for file, own in zip(files, owned, strict=True)
        if own  # to a file, no connections means all of them
    ]
    yield from merge(*streams, key=itemgetter(1))


def _first(reader: AnyReader, connections: list[Connection]) -> Any:
    """Return the first message that can be read, nothing if there is none among the first few."""
    few = islice(_messages(reader, connections), 5)
    messages = (_deserialized(reader, connection, raw) for connection, _, raw in few)
    return next((msg for msg in messages if msg is not None), None)


def _deserialized(reader: AnyReader, connection: Connection, raw: bytes) -> Any:
    """Return a message, nothing, with a warning, if it is damaged."""
    try:
        return reader.deserialize(raw, connection.msgtype)
    except Exception as error:  # whatever damaged bytes make the library do
        logger.warning("a message of %s is damaged and left out: %s", connection.topic, error)
        return None


def _decoded(msg: Any, msgtype: str) -> UInt8Array:
    if msgtype.endswith("CompressedImage"):
        return pixels.decode_compressed(msg.format, msg.data)
    raw = pixels.RawImage(
        msg.encoding, msg.width, msg.height, msg.step, bool(msg.is_bigendian), msg.data
    )
    return pixels.decode_image(raw, pixels.validate_image(raw))


def _intrinsics(reader: AnyReader, connection: Connection, raw: bytes) -> Intrinsics | None:
    return intrinsics_from_camera_info(reader.deserialize(raw, connection.msgtype))


def _poses(reader: AnyReader) -> list[StampedPose]:
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


def _recorded(reader: AnyReader, connections: list[Connection]) -> Iterator[RecordedTransform]:
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
    """Return a pose (4, 4), nothing where it is none."""
    T: Float64Array = np.eye(4)
    T[:3, 3] = position.x, position.y, position.z
    try:
        T[:3, :3] = rotation_from_quaternion((q.x, q.y, q.z, q.w))
    except ValueError:
        return None
    return T if np.isfinite(T).all() else None


def _stamp_ns(msg: Any) -> int:
    return int(msg.header.stamp.sec) * 10**9 + int(msg.header.stamp.nanosec)
