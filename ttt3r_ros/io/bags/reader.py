# SPDX-License-Identifier: Apache-2.0
"""Bags as image sequences, without ROS: rosbag2 (sqlite3, MCAP) and ROS 1."""

from __future__ import annotations

import logging
from functools import cached_property, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import ConfigError, ImageError, SourceError
from ttt3r_ros.geometry import rotation_from_quaternion
from ttt3r_ros.images import encodings as pixels
from ttt3r_ros.images.camera_info import calibration_from_camera_info, shows_rectified_images
from ttt3r_ros.io.bags.parts import unreadable_bag
from ttt3r_ros.io.bags.stamps import SAMPLE_SIZE, ImageStamps
from ttt3r_ros.io.bags.storage import open_bag
from ttt3r_ros.io.bags.topics import (
    INFO_TYPE,
    connections_of,
    first_message,
    foreign_topics,
    image_connections,
    select_image_topic,
    select_info_topics,
)
from ttt3r_ros.io.bags.transforms import BagTransforms, RecordedTransform
from ttt3r_ros.io.sequence import ALL_FRAMES, FrameSelection
from ttt3r_ros.repeated_warnings import RepeatedWarnings
from ttt3r_ros.types import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ttt3r_ros.images.calibration import Calibration
    from ttt3r_ros.io.bags.bag_file import Connection, Record
    from ttt3r_ros.io.bags.storage import OpenBag
    from ttt3r_ros.io.sequence import StampedPose
    from ttt3r_ros.types import Float64Array, Intrinsics, UInt8Array

logger = logging.getLogger(__name__)

_POSE_TYPE = "geometry_msgs/msg/PoseStamped"
_TRANSFORM_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_MAX_LISTED = 5  # topics in a warning


class Bag:
    """The images of one topic with calibration, and ground truth from a pose topic named *ground*truth*."""

    def __init__(
        self,
        path: Path,
        image_topic: str = "",
        camera_info_topic: str = "",
        selection: FrameSelection = ALL_FRAMES,
        images_rectified: str = "auto",
    ) -> None:
        """Open a bag; the defaults are its only image topic and the CameraInfo topic beside that.

        ``images_rectified`` is the setting of that name.

        Raises:
            SourceError: the bag cannot be read, or does not have the topic.
            AmbiguousSource: the bag has several image topics, and none is given.
        """
        self.name = path.resolve().name
        self.skipped = 0
        self._path = path
        self._selection = selection
        self._warnings = RepeatedWarnings(logger.warning)
        with open_bag(path) as bag:
            self._topic = select_image_topic(bag, image_topic, path)
            self._warn_of_content(bag)
            self._info_topics = select_info_topics(bag, self._topic, camera_info_topic, path)
            self._count = sum(c.count for c in image_connections(bag, self._topic))
            first = first_message(bag, self._topic)
            self._camera_frame = "" if first is None else str(first.header.frame_id)
            self._truth = list(self._read_ground_truth(bag))
        self._is_rectified = shows_rectified_images(images_rectified, self._topic)
        self._camera = lru_cache(maxsize=8)(self._find_camera)
        self._warnings.summarize()

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
            SourceError: no image can be decoded, or, after the last image, the bag is truncated or has fewer images
                than announced.
        """
        self.skipped = usable = 0
        with open_bag(self._path) as bag:
            stamps = ImageStamps(self._topic, self._sample_stamps(bag), self._warnings.warn)
            for record, calibration in self._selection.apply(self._images(bag)):
                frame = self._frame(bag, record, stamps, calibration)
                if frame is None:
                    self.skipped += 1
                    continue
                usable += 1
                yield frame
            self._warnings.summarize()
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
            connections = connections_of(bag, _TRANSFORM_TYPES)
            recorded = BagTransforms(self._read_transforms(bag, connections)) if connections else None
        self._warnings.summarize()
        return recorded

    def _is_finished(self, usable: int) -> bool:
        return bool(self._selection.max_frames) and usable + self.skipped >= self._selection.max_frames

    def _warn_of_content(self, bag: OpenBag) -> None:
        """Warn of topics and files that are not read, and of counts that differ from those in metadata.yaml."""
        for remark in bag.remarks:
            logger.warning("%s: %s", self._path, remark)
        if bag.problem:
            logger.warning("%s is truncated (%s); its whole records are read", self._path, bag.problem)
        if foreign := foreign_topics(bag):
            logger.warning(
                "%s: topics without messages of ROS are not read: %s", self._path, _enumerate(foreign)
            )
        counts: dict[str, int] = {}
        for connection in bag.connections:
            counts[connection.topic] = counts.get(connection.topic, 0) + connection.count
        different = [
            f"{announced} on {topic}, the files have {counts.get(topic, 0)}"
            for topic, announced in bag.announced.items()
            if announced != counts.get(topic, 0)
        ]
        if different:
            logger.warning("%s: metadata.yaml announces messages: %s", self._path, _enumerate(different))

    def _images(self, bag: OpenBag) -> Iterator[tuple[Record, Calibration | None]]:
        infos = [c for c in connections_of(bag, (INFO_TYPE,)) if c.topic in self._info_topics]
        calibrations = (self._calibration(bag, record) for record in bag.messages(infos))
        calibration = next((found for found in calibrations if found is not None), None)
        images = image_connections(bag, self._topic)
        read = 0
        for record in bag.messages(images + infos):
            if record[0].topic == self._topic:
                read += 1
                yield record, calibration
                continue
            calibration = self._calibration(bag, record) or calibration
        announced = max(self._count, bag.announced.get(self._topic, 0))
        if read < announced and not bag.problem:
            msg = f"{announced} images are announced on {self._topic}, {read} were read: the others are lost"
            raise unreadable_bag(self._path, msg)

    def _sample_stamps(self, bag: OpenBag) -> list[tuple[int, int]]:
        """Return header stamps and log times of the first images that can be read."""
        records = islice(bag.messages(image_connections(bag, self._topic)), SAMPLE_SIZE)
        quiet = RepeatedWarnings(lambda _: None)  # these messages are read again
        messages = ((_deserialize(bag, record, quiet), record[1]) for record in records)
        return [(_stamp_ns(msg), log_ns) for msg, log_ns in messages if msg is not None]

    def _frame(
        self, bag: OpenBag, record: Record, stamps: ImageStamps, calibration: Calibration | None
    ) -> Frame | None:
        connection, log_ns, _ = record
        msg = _deserialize(bag, record, self._warnings)
        if msg is None:
            return None
        stamp_ns = stamps.stamp_ns(_stamp_ns(msg), log_ns)
        try:
            rgb = _decode(msg, connection.msgtype)
        except ImageError as error:
            self._warnings.warn(f"{self._topic} at {stamp_ns} is skipped: {error}")
            return None
        camera = None if calibration is None else self._camera(calibration, *rgb.shape[1::-1])
        return Frame(stamp_ns, msg.header.frame_id, rgb, camera)

    def _calibration(self, bag: OpenBag, record: Record) -> Calibration | None:
        """Return the calibration of a CameraInfo, None if it is damaged."""
        msg = _deserialize(bag, record, self._warnings)
        try:
            return None if msg is None else calibration_from_camera_info(msg)
        except (ValueError, IndexError, TypeError) as error:
            self._warnings.warn(f"a calibration on {record[0].topic} is skipped: {error}")
            return None

    def _find_camera(self, calibration: Calibration, width: int, height: int) -> Intrinsics | None:
        """Return the camera of images of a size, None if the calibration is invalid."""
        if remark := calibration.remark(is_rectified=self._is_rectified):
            self._warnings.warn(f"{self._topic}: {remark}")
        try:
            return calibration.intrinsics(width, height, is_rectified=self._is_rectified)
        except ConfigError as error:
            self._warnings.warn(f"{self._topic}: no calibration, the focal length is estimated: {error}")
            return None

    def _read_ground_truth(self, bag: OpenBag) -> Iterator[StampedPose]:
        poses = connections_of(bag, (_POSE_TYPE,))
        truth = [c for c in poses if "ground" in c.topic and "truth" in c.topic]
        for record in bag.messages(truth):
            msg = _deserialize(bag, record, self._warnings)
            T = None if msg is None else _matrix(msg.pose.position, msg.pose.orientation)
            if T is not None:
                yield _stamp_ns(msg), T

    def _read_transforms(
        self, bag: OpenBag, connections: list[Connection]
    ) -> Iterator[RecordedTransform]:
        for record in bag.messages(connections):
            is_static = record[0].topic.endswith("static")
            msg = _deserialize(bag, record, self._warnings)
            for stamped in () if msg is None else msg.transforms:
                T = _matrix(stamped.transform.translation, stamped.transform.rotation)
                parent, child = (
                    name.lstrip("/") for name in (stamped.header.frame_id, stamped.child_frame_id)
                )
                if T is not None and parent and child and parent != child:
                    stamp_ns = None if is_static else _stamp_ns(stamped)
                    yield RecordedTransform(parent, child, T, stamp_ns)


# --- messages ----------------------------------------------------------------------------------------


def _enumerate(texts: list[str]) -> str:
    others = f" and {len(texts) - _MAX_LISTED} more" if len(texts) > _MAX_LISTED else ""
    return f"{', '.join(texts[:_MAX_LISTED])}{others}"


def _deserialize(bag: OpenBag, record: Record, warnings: RepeatedWarnings) -> Any:
    """Return a message; None, with a warning, if it is damaged."""
    connection, _, raw = record
    try:
        return bag.deserialize(connection, raw)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        warnings.warn(
            f"a message of {connection.topic} is damaged and skipped: {reason}",
            kind=f"damaged {connection.topic}",
        )
        return None


def _decode(msg: Any, msgtype: str) -> UInt8Array:
    if msgtype.endswith("CompressedImage"):
        return pixels.decode_compressed(msg.format, msg.data)
    raw = pixels.RawImage(
        msg.encoding, msg.width, msg.height, msg.step, bool(msg.is_bigendian), msg.data
    )
    return pixels.decode_image(raw, pixels.validate_image(raw))


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
