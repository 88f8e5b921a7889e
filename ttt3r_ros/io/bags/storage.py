# SPDX-License-Identifier: Apache-2.0
"""Opens bags by the rosbags library, also those whose recording was cut off.

A recorder that dies leaves a bag without metadata.yaml, and an MCAP file without its index; a copy that breaks off
leaves half a file. What is whole in them is read.
"""

from __future__ import annotations

import io
import re
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from ttt3r_ros.errors import SourceError, Ttt3rError
from ttt3r_ros.io.image_files import natural_sort_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BAG_SUFFIXES = (".mcap", ".db3", ".bag")
_PACKED_SUFFIXES = (".zstd", ".zst")
_METADATA = "metadata.yaml"
_STORAGES = ("sqlite3", "mcap")
_MAGIC = b"\x89MCAP0\r\n"
_RECORD_HEADER = 9  # a byte of kind, eight of length
_FOOTER = b"\x02" + (20).to_bytes(8, "little") + bytes(20) + _MAGIC  # without a summary: scan the file
_HINTS = {  # where the library says this, these tools may save what is whole
    "disk image is malformed": "sqlite3 FILE .recover",
    "not indexed": "rosbag reindex",
    "index looks damaged": "rosbag reindex",
}
_LAST_KINDS = (0x0F, 0x02)  # end of data, footer


@dataclass(frozen=True)
class OpenBag:
    """A bag that can be read, maybe not to its end."""

    reader: AnyReader
    problem: str  # why it breaks off; empty: it is whole


@contextmanager
def open_bag(path: Path) -> Iterator[OpenBag]:
    """Open a bag: its folder, its one file, or a folder of files without metadata.yaml (split, or cut off).

    Raises:
        SourceError: it cannot be read, also while it is being read.
    """
    try:
        with ExitStack() as stack:
            yield _opened(_parts(path), stack)
    except Ttt3rError:
        raise
    except Exception as error:  # each storage format raises errors of its own, also while it is read
        raise unreadable_bag(path, f"{error}".rstrip(".") + _hint(str(error))) from error


def unreadable_bag(path: Path, problem: object) -> SourceError:
    """Return the error of a bag, in one line."""
    line = " ".join(str(problem).split()).rstrip(".")
    msg = f"{path} cannot be read as a bag: {line or 'it is damaged'}"
    return SourceError(msg)


def _hint(problem: str) -> str:
    tool = next((tool for said, tool in _HINTS.items() if said in problem), "")
    return f" ('{tool}' may save what is whole)" if tool else ""


def _opened(parts: list[Path], stack: ExitStack) -> OpenBag:
    try:
        return OpenBag(stack.enter_context(_reader(parts)), "")
    except Exception as error:
        if not _may_be_rescued(parts):
            raise
        with suppress(Exception):
            reader = stack.enter_context(_reader([_Rescued(part) for part in parts]))
            if next(reader.messages(), None) is not None:
                return OpenBag(reader, str(error).rstrip("."))
        raise


def _reader(parts: list[Any]) -> AnyReader:
    # Bags of ROS 2 Humble do not carry the definitions of their messages.
    return AnyReader(parts, default_typestore=get_typestore(Stores.ROS2_HUMBLE))


# --- what belongs to a bag ---------------------------------------------------------------------------


def _parts(path: Path) -> list[Path]:
    """Return what the library is to open: one folder with metadata, or files."""
    if path.name == _METADATA and path.is_file():
        path = path.parent
    if path.is_dir():
        return _parts_of_folder(path)
    if not path.is_file():
        raise unreadable_bag(path, "there is no such file or folder")
    if path.suffix.lower() in (".mcap", ".db3", *_PACKED_SUFFIXES):
        return _parts_of_file(path)
    if path.suffix.lower() != ".bag":
        raise unreadable_bag(path, f"expected a folder with {_METADATA}, or *{', *'.join(BAG_SUFFIXES)}")
    return [path]


def _parts_of_folder(folder: Path) -> list[Path]:
    if (folder / _METADATA).is_file():
        _check_storage(folder)
        return [folder]
    files = _storage_files(folder)
    kinds = sorted({file.suffix.lower() for file in files})
    if len(kinds) != 1:
        found = f"files of {' and '.join(kinds)}" if kinds else "no bag"
        raise unreadable_bag(folder, f"it has no {_METADATA}, and {found} (*{', *'.join(BAG_SUFFIXES)})")
    return files


def _parts_of_file(file: Path) -> list[Path]:
    """Return the folder of a file where only its metadata tell how the messages are packed."""
    metadata = file.parent / _METADATA
    text = metadata.read_text(encoding="utf-8", errors="replace") if metadata.is_file() else ""
    belongs = file.name in text
    is_packed = bool(re.search(r"compression_mode: *['\"]?(file|message)", text, re.IGNORECASE))
    if belongs and text.count(file.suffix) and _files_listed(text) == 1:
        _check_storage(file.parent)
        return [file.parent]
    if belongs and is_packed:
        raise unreadable_bag(file, "it is one of several compressed files; name their folder")
    if file.suffix.lower() in _PACKED_SUFFIXES:
        raise unreadable_bag(file, f"a compressed file needs the {_METADATA} beside it")
    return [file]


def _files_listed(metadata: str) -> int:
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


# --- MCAP files without an end -----------------------------------------------------------------------


def _may_be_rescued(parts: list[Path]) -> bool:
    files = [file for part in parts for file in ([part] if part.is_file() else _storage_files(part))]
    return bool(files) and all(file.suffix.lower() == ".mcap" for file in files)


class _Rescued:
    """A path of which MCAP files are read up to their last whole record, as if they ended there.

    Has what the library asks of its paths.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.suffix, self.stem = path.suffix, path.stem
        self.exists, self.is_dir, self.read_text = path.exists, path.is_dir, path.read_text

    def __str__(self) -> str:
        return str(self._path)

    def __truediv__(self, name: object) -> _Rescued:
        return _Rescued(self._path / str(name))

    def open(self, *_: object, **__: object) -> BinaryIO:
        """Open the file for reading."""
        if self.suffix.lower() != ".mcap":
            return self._path.open("rb")
        return cast("BinaryIO", io.BufferedReader(_WithFooter(self._path)))


class _WithFooter(io.RawIOBase):
    """The whole records of an MCAP file, then a footer that says there is no index."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._end = _end_of_records(self._file)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end + len(_FOOTER)}
        self._at = origin[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer)
        if self._at < self._end:
            self._file.seek(self._at)
            data = self._file.read(min(wanted, self._end - self._at))
        else:
            data = _FOOTER[self._at - self._end :][:wanted]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _end_of_records(file: BinaryIO) -> int:
    """Return where the last whole record of the data ends."""
    size = file.seek(0, io.SEEK_END)
    at = len(_MAGIC)
    while at + _RECORD_HEADER <= size:
        file.seek(at)
        header = file.read(_RECORD_HEADER)
        after = at + _RECORD_HEADER + int.from_bytes(header[1:], "little")
        if header[0] in _LAST_KINDS or after > size:
            break
        at = after
    return at
