# SPDX-License-Identifier: Apache-2.0
"""Truncated MCAP files as complete files without a summary, which rosbags scans from front to back.

A recorder that is killed does not write the summary and the footer; an interrupted copy also cuts a record.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"\x89MCAP0\r\n"
_RECORD_HEADER_SIZE = 9  # opcode, length of 8 bytes
_FOOTER = b"\x02" + (20).to_bytes(8, "little") + bytes(20) + _MAGIC  # no summary
_END_OPCODES = (0x0F, 0x02)  # end of data, footer


class TruncatedMcap:
    """A path for rosbags (`rosbags.interfaces.typing.RPath`) that ends MCAP files after their last whole record."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.suffix, self.stem = path.suffix, path.stem
        self.exists, self.is_dir, self.read_text = path.exists, path.is_dir, path.read_text

    def __str__(self) -> str:
        return str(self._path)

    def __truediv__(self, name: object) -> TruncatedMcap:
        return TruncatedMcap(self._path / str(name))

    def open(self, *_: object, **__: object) -> BinaryIO:
        """Open the file for reading."""
        if self.suffix.lower() != ".mcap":
            return self._path.open("rb")
        return cast("BinaryIO", io.BufferedReader(_WithFooter(self._path)))


class _WithFooter(io.RawIOBase):
    """The whole records of an MCAP file, followed by a footer."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._end = _end_of_records(self._file)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end + len(_FOOTER)}
        self._position = origins[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        if self._position < self._end:
            self._file.seek(self._position)
            data = self._file.read(min(size, self._end - self._position))
        else:
            data = _FOOTER[self._position - self._end :][:size]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _end_of_records(file: BinaryIO) -> int:
    """Return the position after the last whole record of the data section; reads only the headers of records."""
    size = file.seek(0, io.SEEK_END)
    position = len(_MAGIC)
    while position + _RECORD_HEADER_SIZE <= size:
        file.seek(position)
        header = file.read(_RECORD_HEADER_SIZE)
        end = position + _RECORD_HEADER_SIZE + int.from_bytes(header[1:], "little")
        if header[0] in _END_OPCODES or end > size:
            break
        position = end
    return position
