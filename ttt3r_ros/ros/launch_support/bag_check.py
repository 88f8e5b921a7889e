# SPDX-License-Identifier: Apache-2.0
"""Check of a bag before a launch plays it: it is readable, and has images on the topics that the node subscribes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.bags.storage import open_bag
from ttt3r_ros.io.bags.topics import IMAGE_TYPES, INFO_TYPE, connections_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ttt3r_ros.io.bags.storage import OpenBag

_TYPES = {"raw": "sensor_msgs/msg/Image", "compressed": "sensor_msgs/msg/CompressedImage"}


def require_images(bag: Path, image_topics: Iterable[str], transport: str) -> None:
    """Check that a bag has images on every topic, of the type of ``image_transport``.

    Raises:
        SourceError: names bag and topic, the images of the bag, and the arguments for them.
    """
    with open_bag(bag) as opened:
        for topic in image_topics:
            _require_topic(opened, bag, topic, transport)


def missing_calibrations(bag: Path, info_topics: Iterable[str]) -> list[str]:
    """Return the CameraInfo topics that a bag does not have."""
    with open_bag(bag) as opened:
        existing = {c.topic for c in connections_of(opened, (INFO_TYPE,)) if c.count}
    return [topic for topic in info_topics if topic not in existing]


def _require_topic(bag: OpenBag, path: Path, topic: str, transport: str) -> None:
    name = f"{topic}/compressed" if transport == "compressed" else topic
    images = {c.topic: c.msgtype for c in connections_of(bag, IMAGE_TYPES) if c.count}
    if images.get(name) == _TYPES[transport]:
        return
    found = ", ".join(f"{other} ({kind.rpartition('/')[2]})" for other, kind in sorted(images.items()))
    remedy = _remedy(images, topic)
    msg = (
        f"bag {path} has no {_TYPES[transport].rpartition('/')[2]} messages on {name} "
        f"(images: {found or 'none'}){remedy}"
    )
    raise SourceError(msg)


def _remedy(images: dict[str, str], topic: str) -> str:
    """Return the arguments that fit the images of the bag: of the same topic, else of its only camera."""
    fitting = [
        (base, transport)
        for transport, suffix in (("raw", ""), ("compressed", "/compressed"))
        for base in sorted({name.removesuffix(suffix) for name in images if name.endswith(suffix)})
        if images.get(base + suffix) == _TYPES[transport]
    ]
    same = [(base, transport) for base, transport in fitting if base == topic]
    bases = {base for base, _ in fitting}
    choice = same[0] if same else fitting[0] if len(bases) == 1 else None
    if choice is None:
        return "; select one with image_topic" if images else ""
    base, transport = choice
    return f"; try image_topic:={base} image_transport:={transport}"
