# SPDX-License-Identifier: Apache-2.0
"""Opening of bags with the rosbags library, also of incomplete recordings.

A recorder that is killed leaves a bag without metadata.yaml. MCAP files may be truncated; see `truncated_mcap`.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from ttt3r_ros.errors import SourceError, Ttt3rError
from ttt3r_ros.io.bags.truncated_mcap import TruncatedMcap
from ttt3r_ros.io.image_files import natural_sort_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BAG_SUFFIXES = (".mcap", ".db3", ".bag")
_COMPRESSED_SUFFIXES = (".zstd", ".zst")
_METADATA = "metadata.yaml"
_STORAGES = ("sqlite3", "mcap")
_HINTS = {  # part of an error of the library: tool that may recover the bag
    "disk image is malformed": "sqlite3 FILE .recover",
    "not indexed": "rosbag reindex",
    "Bag index": "rosbag reindex",
}


@dataclass(frozen=True)
class OpenBag:
    """An open bag, complete or truncated."""

    reader: AnyReader
    problem: str  # reason of the truncation; empty: complete


@contextmanager
def open_bag(path: Path) -> Iterator[OpenBag]:
    """Open a bag: its folder, its single file, or a folder of files without metadata.yaml.

    Raises:
        SourceError: the bag cannot be opened or, inside the block, read.
    """
    try:
        with ExitStack() as stack:
            yield _open(_parts(path), stack)
    except Ttt3rError:
        raise
    except Exception as error:  # each storage format raises its own errors
        raise unreadable_bag(path, f"{error}".rstrip(".") + _hint(str(error))) from error


def unreadable_bag(path: Path, problem: object) -> SourceError:
    """Return the error of a bag, its message in one line."""
    line = " ".join(str(problem).split()).rstrip(".")
    msg = f"{path} cannot be read as a bag: {line or 'it is damaged'}"
    return SourceError(msg)


def _hint(problem: str) -> str:
    tool = next((tool for part, tool in _HINTS.items() if part in problem), "")
    return f" ('{tool}' may recover messages)" if tool else ""


def _open(parts: list[Path], stack: ExitStack) -> OpenBag:
    try:
        return OpenBag(stack.enter_context(_reader(parts)), "")
    except Exception as error:
        if not _is_mcap(parts):
            raise
        with suppress(Exception):
            reader = stack.enter_context(_reader([TruncatedMcap(part) for part in parts]))
            if next(reader.messages(), None) is not None:
                return OpenBag(reader, str(error).rstrip("."))
        raise


def _reader(parts: list[Any]) -> AnyReader:
    # Bags of ROS 2 Humble do not contain message definitions.
    return AnyReader(parts, default_typestore=get_typestore(Stores.ROS2_HUMBLE))


def _is_mcap(parts: list[Path]) -> bool:
    files = [file for part in parts for file in ([part] if part.is_file() else _storage_files(part))]
    return bool(files) and all(file.suffix.lower() == ".mcap" for file in files)


# --- parts of a bag ----------------------------------------------------------------------------------


def _parts(path: Path) -> list[Path]:
    """Return the paths that the library opens: one folder with metadata, or files."""
    if path.name == _METADATA and path.is_file():
        path = path.parent
    if path.is_dir():
        return _parts_of_folder(path)
    if not path.is_file():
        raise unreadable_bag(path, "it does not exist")
    if path.suffix.lower() in (".mcap", ".db3", *_COMPRESSED_SUFFIXES):
        return _parts_of_file(path)
    if path.suffix.lower() != ".bag":
        raise unreadable_bag(path, f"expected a folder with {_METADATA}, or *{', *'.join(BAG_SUFFIXES)}")
    return [path]


def _parts_of_folder(folder: Path) -> list[Path]:
    if (folder / _METADATA).is_file():
        _check_storage(folder)
        return [folder]
    files = _storage_files(folder)
    suffixes = sorted({file.suffix.lower() for file in files})
    if len(suffixes) != 1:
        found = f"files of {' and '.join(suffixes)}" if suffixes else "no bag"
        raise unreadable_bag(folder, f"it has no {_METADATA}, and {found} (*{', *'.join(BAG_SUFFIXES)})")
    return files


def _parts_of_file(file: Path) -> list[Path]:
    """Return the folder of the only file of a bag, whose metadata has the compression; else the file."""
    metadata = file.parent / _METADATA
    text = metadata.read_text(encoding="utf-8", errors="replace") if metadata.is_file() else ""
    is_listed = file.name in text
    is_compressed = bool(re.search(r"compression_mode: *['\"]?(file|message)", text, re.IGNORECASE))
    if is_listed and text.count(file.suffix) and _count_listed_files(text) == 1:
        _check_storage(file.parent)
        return [file.parent]
    if is_listed and is_compressed:
        raise unreadable_bag(file, "it is one of several compressed files; open their folder")
    if file.suffix.lower() in _COMPRESSED_SUFFIXES:
        raise unreadable_bag(file, f"a compressed file needs {_METADATA} in its folder")
    return [file]


def _count_listed_files(metadata: str) -> int:
    listed = re.search(r"relative_file_paths:((?:\s*-\s+\S+)+)", metadata)
    return len(re.findall(r"-\s+\S+", listed[1])) if listed else 0


def _check_storage(folder: Path) -> None:
    text = (folder / _METADATA).read_text(encoding="utf-8", errors="replace")
    storage = re.search(r"storage_identifier: *['\"]?([\w./-]+)", text)
    if storage is not None and storage[1] not in _STORAGES:
        raise unreadable_bag(
            folder, f"storage '{storage[1]}' is unknown; expected {' or '.join(_STORAGES)}"
        )


def _storage_files(folder: Path) -> list[Path]:
    files = (file for file in folder.iterdir() if file.suffix.lower() in BAG_SUFFIXES)
    return sorted(files, key=natural_sort_key)
