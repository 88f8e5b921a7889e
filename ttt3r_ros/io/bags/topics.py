# SPDX-License-Identifier: Apache-2.0
"""Choice of the image and CameraInfo topics of a bag, by type, encoding and format of the messages."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import AmbiguousSource, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ttt3r_ros.io.bags.bag_file import Connection
    from ttt3r_ros.io.bags.storage import OpenBag

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
_SAMPLE_SIZE = 5  # messages, of which the first readable one counts
_PNG_GRAY_16_BIT = bytes([16, 0])  # bit depth and color type in the header of a PNG


def connections_of(bag: OpenBag, types: Iterable[str]) -> list[Connection]:
    """Return the connections with readable messages of the given types."""
    return [c for c in bag.connections if c.msgtype in types and c.is_ros]


def image_connections(bag: OpenBag, topic: str) -> list[Connection]:
    """Return the connections of an image topic: one per file, publisher and QoS."""
    return [c for c in connections_of(bag, IMAGE_TYPES) if c.topic == topic]


def select_image_topic(bag: OpenBag, name: str, path: Path) -> str:
    """Return the image topic of this name; without a name the only camera with messages.

    Raises:
        SourceError: there is none.
        AmbiguousSource: there are several.
    """
    connections = connections_of(bag, IMAGE_TYPES)
    images = sorted({c.topic for c in connections})
    if name:
        if name in images:
            return name
        msg = f"{path}: no image topic {name} (image topics: {_enumerate(images)}){_notes(bag)}"
        raise SourceError(msg)
    images = sorted({c.topic for c in connections if c.count}) or images
    cameras = [topic for topic in images if not _is_depth(bag, topic)] or images
    choices = [topic for topic in cameras if not _is_compressed_copy(topic, cameras)]
    if len(choices) == 1:
        return choices[0]
    if not choices:
        topics = _enumerate(sorted({c.topic for c in bag.connections}))
        msg = f"{path} has no image topic (its topics: {topics}){_notes(bag)}"
        raise SourceError(msg)
    msg = f"{path}: {len(choices)} image topics; select one (image topics: {_enumerate(images)})"
    raise AmbiguousSource(msg, choices=choices, kind="image topic")


def select_info_topics(bag: OpenBag, image_topic: str, name: str, path: Path) -> set[str]:
    """Return the possible names of the CameraInfo topic; raise `SourceError` if the given one is missing."""
    topics = sorted({c.topic for c in connections_of(bag, (INFO_TYPE,))})
    if not name:
        nearest_first = [f"{image_topic.rsplit('/', depth)[0]}/camera_info" for depth in (1, 2)]
        return set([topic for topic in nearest_first if topic in topics][:1])
    if name not in topics:
        msg = f"{path}: no CameraInfo topic {name} (CameraInfo topics: {_enumerate(topics)})"
        raise SourceError(msg)
    return {name}


def foreign_topics(bag: OpenBag) -> list[str]:
    """Return the topics whose messages are not those of ROS, with type and encoding."""
    foreign = {(c.topic, c.msgtype, c.encoding) for c in bag.connections if not c.is_ros}
    return [
        f"{topic} ({' in '.join(filter(None, (msgtype, encoding))) or 'without encoding'})"
        for topic, msgtype, encoding in sorted(foreign)
    ]


def first_message(bag: OpenBag, topic: str) -> Any:
    """Return the first readable image message of the first five, None if all are damaged."""
    for connection, _, raw in islice(bag.messages(image_connections(bag, topic)), _SAMPLE_SIZE):
        try:
            return bag.deserialize(connection, raw)
        except Exception:  # noqa: PERF203, S112 - damaged bytes raise errors of many types
            continue
    return None


def _enumerate(topics: list[str]) -> str:
    return ", ".join(topics) or "none"


def _notes(bag: OpenBag) -> str:
    """Return the parts of a message with possible reasons why a topic is missing."""
    foreign = foreign_topics(bag)
    notes = [f"not messages of ROS: {_enumerate(foreign)}"] if foreign else []
    return "".join(f"; {note}" for note in [*notes, *filter(None, [bag.problem]), *bag.remarks])


def _is_compressed_copy(topic: str, cameras: list[str]) -> bool:
    """Return whether a topic has the compressed images of another one."""
    return topic.endswith("/compressed") and topic.removesuffix("/compressed") in cameras


def _is_depth(bag: OpenBag, topic: str) -> bool:
    """Return whether the first image of a topic is a depth image: 16UC1 or floating point, as REP 118 defines."""
    msg = first_message(bag, topic)
    if msg is None:
        return False
    if hasattr(msg, "encoding"):
        return _is_depth_encoding(msg.encoding, topic)
    if "compressedDepth" in msg.format:
        return True
    encoding = msg.format.split(";", maxsplit=1)[0].strip()  # before the semicolon; else "png" or "jpeg"
    if ";" in msg.format and encoding:
        return _is_depth_encoding(encoding, topic)
    header = bytes(msg.data[:26])
    return header.startswith(b"\x89PNG") and header[24:26] == _PNG_GRAY_16_BIT


def _is_depth_encoding(encoding: str, topic: str) -> bool:
    return "FC" in encoding or encoding == "16UC1" or (encoding == "mono16" and "depth" in topic)
