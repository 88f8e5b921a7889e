# SPDX-License-Identifier: Apache-2.0
"""Opening of bags: storage files of any kind, compressed or not, as one stream of messages."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from heapq import merge
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zstandard

from ttt3r_ros.errors import Ttt3rError
from ttt3r_ros.io.bags.bag_file import CDR
from ttt3r_ros.io.bags.decoder import MessageDecoder
from ttt3r_ros.io.bags.kinds import MCAP, ROS1, SQLITE, ZSTD, ZSTD_MAGIC, expected_kind, kind_of_file
from ttt3r_ros.io.bags.mcap_file import McapFile
from ttt3r_ros.io.bags.parts import BagParts, find_parts, unreadable_bag
from ttt3r_ros.io.bags.ros1_file import Ros1File
from ttt3r_ros.io.bags.sqlite_file import SqliteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from ttt3r_ros.io.bags.bag_file import BagFile, Connection, Record

_OPEN: dict[str, Callable[[Path], BagFile]] = {MCAP: McapFile, SQLITE: SqliteFile, ROS1: Ros1File}
_BLOCK_BYTES = 2**20
_MAX_MESSAGE_BYTES = 2**30
_HINTS = {  # part of an error of a library: remedy
    "disk image is malformed": "'sqlite3 FILE .recover' may recover messages",
    "no such table": "the recorder was killed before its first message, or the file is another database",
    "not indexed": "the recorder was killed or still writes; 'rosbag reindex FILE' makes the index",
    "Bag index": "the recorder was killed or still writes; 'rosbag reindex' may recover messages",
}


class OpenBag:
    """All files of a bag, open."""

    def __init__(self, files: list[BagFile], parts: BagParts) -> None:
        """Combine the files of a bag."""
        self._files = files
        self._decoder = MessageDecoder()
        self.connections = [connection for file in files for connection in file.connections]
        self.announced = parts.announced  # messages by topic in metadata.yaml; empty: unknown
        self.problem = next(
            (problem for problem in [*parts.problems, *(f.problem for f in files)] if problem), ""
        )
        self.remarks = [*parts.remarks, *(file.remark for file in files if file.remark)]

    def messages(self, connections: Collection[Connection]) -> Iterator[Record]:
        """Yield messages in the order of log time; at equal times in the order of the files."""
        numbers = count()
        streams = [
            _stream(file, next(numbers), selected)
            for file in self._files
            if (selected := [c for c in file.connections if c in set(connections)])
        ]
        for _, _, record in merge(*streams, key=lambda item: item[:2]):
            if record is not None:
                yield record

    def deserialize(self, connection: Connection, raw: bytes) -> Any:
        """Return a message; damaged bytes raise errors of many types."""
        if connection.encoding == CDR and raw.startswith(ZSTD_MAGIC):  # CDR starts with 00
            raw = _decompress(raw)
        return self._decoder.deserialize(connection, raw)


def _stream(
    file: BagFile, number: int, connections: list[Connection]
) -> Iterator[tuple[int, int, Record | None]]:
    """Yield the start of a file, so that it is read when its time comes, then its messages."""
    yield file.start_ns, number, None
    for record in file.messages(connections):
        yield record[1], number, record


@contextmanager
def open_bag(path: Path) -> Iterator[OpenBag]:
    """Open a bag: its folder, its single file, or a folder of files without metadata.yaml.

    Raises:
        SourceError: the bag cannot be opened or, inside the block, read.
    """
    try:
        with ExitStack() as stack:
            parts = find_parts(path)
            yield OpenBag(_open_files(parts, stack), parts)
    except Ttt3rError:
        raise
    except Exception as error:  # each storage format raises its own errors
        raise unreadable_bag(path, _reason(error)) from error


def _open_files(parts: BagParts, stack: ExitStack) -> list[BagFile]:
    """Open the files of a bag; of several, damaged ones are problems of the bag."""
    files: list[BagFile] = []
    for path in parts.files:
        try:
            files.append(_open_file(path, stack, parts.problems))
        except Exception as error:  # noqa: PERF203 - each storage format raises its own errors
            if len(parts.files) == 1 and not parts.problems:
                raise
            parts.problems.append(f"{path.name}: {_reason(error)}")
    if not files:
        raise ValueError(parts.problems[0])
    return files


def _open_file(path: Path, stack: ExitStack, problems: list[str]) -> BagFile:
    kind = kind_of_file(path)
    if kind == ZSTD:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ttt3r_bag_"))
        unpacked = Path(folder) / "bag"
        if not _unpack(path, unpacked):
            problems.append(f"the compressed file {path.name} is cut off")
        return _open_file(unpacked, stack, problems)
    if not kind:
        raise ValueError(_unknown_content(path))
    file = _OPEN[kind](path)
    stack.callback(file.close)
    if not file.connections and file.problem:
        raise ValueError(file.problem)
    return file


def _decompress(raw: bytes) -> bytes:
    """Return a decompressed message; raises `ValueError` or `zstandard.ZstdError`."""
    size = zstandard.frame_content_size(raw)  # -1: unknown
    if size > _MAX_MESSAGE_BYTES:
        msg = f"it claims {size} bytes; expected at most {_MAX_MESSAGE_BYTES}"
        raise ValueError(msg)
    return zstandard.ZstdDecompressor().decompress(
        raw, max_output_size=_MAX_MESSAGE_BYTES if size < 0 else 0
    )


def _unpack(path: Path, target: Path) -> bool:
    """Decompress a file; return whether it is complete."""
    with path.open("rb") as packed, target.open("wb") as unpacked:
        frame = zstandard.ZstdDecompressor().decompressobj()
        while data := packed.read(_BLOCK_BYTES):
            while data:
                if frame.eof:  # another frame follows
                    frame = zstandard.ZstdDecompressor().decompressobj()
                unpacked.write(frame.decompress(data))
                data = frame.unused_data
    return frame.eof


def _unknown_content(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        return "it is empty"
    if start.startswith(b"#ROSBAG V1"):
        return "it is a ROS 1 bag of format 1; 'rosbag fix' converts it to format 2.0"
    expected = f"it is no {expected_kind(path) or 'bag'} file: " if expected_kind(path) else ""
    return (
        f"{expected}it starts with {start[:8].hex(' ')}; expected MCAP, sqlite3, ROS 1 bag 2.0 or zstd"
    )


def _reason(error: Exception) -> str:
    reason = f"{error}".rstrip(".") or type(error).__name__
    hint = next((hint for part, hint in _HINTS.items() if part in reason), "")
    return f"{reason} ({hint})" if hint else reason
