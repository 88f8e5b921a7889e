# SPDX-License-Identifier: Apache-2.0
"""The files of a bag, and what its metadata.yaml announces of them.

The files decide: metadata.yaml may be absent, edited, damaged, or older than they are. It only adds their order and the
number of messages that the recorder counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.bags.kinds import BAG_SUFFIXES, METADATA, expected_kind, kind_of_file
from ttt3r_ros.io.image_files import natural_sort_key
from ttt3r_ros.text_files import read_yaml

if TYPE_CHECKING:
    from pathlib import Path

_STORAGES = ("sqlite3", "mcap")
_JOURNALS = ("-wal", "-shm", "-journal")  # beside a database


@dataclass
class BagParts:
    """The files of a bag in order."""

    files: list[Path]
    announced: dict[str, int] = field(default_factory=dict)  # messages by topic; empty: unknown
    remarks: list[str] = field(default_factory=list)  # differences between metadata.yaml and the files
    problems: list[str] = field(default_factory=list)  # files that cannot be read


def unreadable_bag(path: Path, problem: object) -> SourceError:
    """Return the error of a bag, its message in one line."""
    line = " ".join(str(problem).split()).rstrip(".")
    msg = f"{path} cannot be read as a bag: {line or 'it is damaged'}"
    return SourceError(msg)


def find_parts(path: Path) -> BagParts:
    """Return the files of a bag: its folder, its metadata.yaml, or one file.

    Raises:
        SourceError: there is no file of a bag.
    """
    if path.name == METADATA and path.is_file():
        path = path.parent
    if path.is_dir():
        return _parts_of_folder(path)
    if not path.is_file():
        raise unreadable_bag(path, "it does not exist")
    if not kind_of_file(path) and path.suffix.lower() not in BAG_SUFFIXES:
        expected = f"a folder with {METADATA}, or *{', *'.join(BAG_SUFFIXES)}"
        raise unreadable_bag(path, f"expected {expected}")
    metadata = _read_metadata(path.parent)
    is_whole = metadata is not None and metadata.names == [path.name]
    return BagParts([path], metadata.counts if metadata is not None and is_whole else {})


@dataclass(frozen=True)
class _Metadata:
    names: list[str]
    counts: dict[str, int]
    storage: str
    problem: str = ""


def _read_metadata(folder: Path) -> _Metadata | None:
    """Return the content of metadata.yaml; None without the file."""
    if not (folder / METADATA).is_file():
        return None
    try:
        content = read_yaml(folder / METADATA)["rosbag2_bagfile_information"]
        names = [PurePath(str(name)).name for name in content["relative_file_paths"]]
        counts: dict[str, int] = {}
        for entry in content["topics_with_message_count"]:
            topic = str(entry["topic_metadata"]["name"])
            counts[topic] = counts.get(topic, 0) + int(entry["message_count"])
    except (SourceError, KeyError, TypeError, ValueError) as error:
        return _Metadata([], {}, "", problem=" ".join(f"{type(error).__name__}: {error}".split()))
    return _Metadata(names, counts, str(content.get("storage_identifier") or ""))


def _parts_of_folder(folder: Path) -> BagParts:
    stored = sorted((file for file in folder.iterdir() if _is_stored(file)), key=natural_sort_key)
    metadata = _read_metadata(folder)
    if metadata is None:
        return _parts_without_metadata(folder, stored)
    if not stored:
        raise unreadable_bag(folder, _no_files(folder, metadata))
    if metadata.problem:
        remark = f"{METADATA} cannot be read ({metadata.problem}); all {len(stored)} files are read"
        return BagParts(stored, remarks=[remark])
    return _compare(metadata, stored)


def _parts_without_metadata(folder: Path, stored: list[Path]) -> BagParts:
    suffixes = sorted({file.suffix.lower() for file in stored})
    if len(suffixes) != 1:
        found = f"files of {' and '.join(suffixes)}" if suffixes else "no bag"
        raise unreadable_bag(folder, f"it has no {METADATA}, and {found} (*{', *'.join(BAG_SUFFIXES)})")
    return BagParts(stored)


def _no_files(folder: Path, metadata: _Metadata) -> str:
    if metadata.problem:
        return f"{METADATA}: {metadata.problem}, and no *{', *'.join(BAG_SUFFIXES)} beside it"
    if metadata.storage and metadata.storage not in _STORAGES:
        return f"storage '{metadata.storage}' is unknown; expected {' or '.join(_STORAGES)}"
    names = ", ".join(metadata.names) or "no file"
    present = any((folder / name).is_file() for name in metadata.names)
    return f"{METADATA} lists {names}, {'which is not of a bag' if present else 'which does not exist'}"


def _compare(metadata: _Metadata, stored: list[Path]) -> BagParts:
    """Return listed files, and unlisted ones that continue them or replace missing ones."""
    by_name = {file.name: file for file in stored}
    listed = [by_name[name] for name in metadata.names if name in by_name]
    missing = [name for name in metadata.names if name not in by_name]
    unlisted = [file for file in stored if file not in listed]
    stems = {_stem(name) for name in metadata.names}
    added = [file for file in unlisted if missing or _stem(file.name) in stems]
    others = [file.name for file in unlisted if file not in added]
    remarks = []
    if missing:
        remarks.append(f"{METADATA} lists {_enumerate(missing)}, which does not exist")
    if added:
        remarks.append(
            f"{METADATA} does not list {_enumerate([f.name for f in added])}, which is read, too"
        )
    if others:
        remarks.append(
            f"{METADATA} does not list {_enumerate(others)}, which is not read; open it by its name"
        )
    if not listed and not added:
        raise unreadable_bag(stored[0].parent, _no_files(stored[0].parent, metadata))
    files = listed + added
    if missing:
        files.sort(key=natural_sort_key)
    return BagParts(files, metadata.counts, remarks)


def _enumerate(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _stem(name: str) -> str:
    """Return the name of a file without the number that split bags have, and without suffixes."""
    return re.sub(r"(_\d+)?(\.(mcap|db3|zstd|zst))+$", "", name, flags=re.IGNORECASE)


def _is_stored(file: Path) -> bool:
    if not file.is_file() or file.name.startswith(".") or file.name.endswith(_JOURNALS):
        return False
    return bool(expected_kind(file)) or kind_of_file(file) != ""
