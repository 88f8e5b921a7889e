# SPDX-License-Identifier: Apache-2.0
"""Kinds of bag files, by their first bytes. Needs no library."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

METADATA = "metadata.yaml"
_METADATA_START = 4096  # bytes that have the key of a bag
BAG_SUFFIXES = (".mcap", ".db3", ".bag", ".active", ".zstd", ".zst")
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MCAP, SQLITE, ROS1, ZSTD = "mcap", "sqlite3", "ros1", "zstd"
_KINDS = {
    b"\x89MCAP0\r\n": MCAP,
    b"SQLite format 3\0": SQLITE,
    b"#ROSBAG V2.0\n": ROS1,
    ZSTD_MAGIC: ZSTD,
}
_KIND_BY_SUFFIX = {".mcap": MCAP, ".db3": SQLITE, ".bag": ROS1, ".active": ROS1}


def kind_of_file(path: Path) -> str:
    """Return the kind of a file by its first bytes, which a new name does not change; empty: unknown."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return ""
    return next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), "")


def is_bag_file(path: Path) -> bool:
    """Return whether name or content of a file is that of a bag."""
    return path.suffix.lower() in BAG_SUFFIXES or kind_of_file(path) in (MCAP, SQLITE, ROS1)


def is_bag_metadata(path: Path) -> bool:
    """Return whether a file is the metadata of a bag; other tools have files of that name, too."""
    try:
        with path.open("rb") as file:
            return b"rosbag2_bagfile_information" in file.read(_METADATA_START)
    except OSError:
        return False


def expected_kind(path: Path) -> str:
    """Return the kind that the name of a file stands for; empty: none."""
    return _KIND_BY_SUFFIX.get(path.suffix.lower(), "")
