# SPDX-License-Identifier: Apache-2.0
"""One MCAP file of a bag, read by the mcap library: any profile, foreign channels, with or without an index.

A recorder that is killed writes neither index nor footer; an interrupted copy also cuts a record. The index is then
made by one pass over the file. Messages are sorted chunk by chunk, and messages without chunks by an index of their
times, so that memory stays bounded.
"""

from __future__ import annotations

import io
from array import array
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import merge
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import breakup_chunk

from ttt3r_ros.io.bags.bag_file import Connection, normalized_type

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from ttt3r_ros.io.bags.bag_file import Record

_MAGIC_SIZE = 8
_HEADER_SIZE = 9  # of a record: opcode, length of 8 bytes
_END_OPCODES = (Opcode.DATA_END, Opcode.FOOTER)
_MAX_CHUNK_BYTES = 2**32
_NEVER_NS = 2**63 - 1


@dataclass(frozen=True)
class _IndexedChunk:
    """A chunk of the file."""

    start_ns: int
    offset: int
    channels: frozenset[int] | None  # that it has messages of; None: unknown


@dataclass
class _Index:
    """Where the messages of a file are."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)  # messages by channel
    chunks: list[_IndexedChunk] = field(default_factory=list)
    # Messages outside of chunks: channel, log time, offset of the record
    loose: tuple[array[int], array[int], array[int]] = field(
        default_factory=lambda: (array("H"), array("Q"), array("Q"))
    )
    start_ns: int = _NEVER_NS
    problem: str = ""

    def add(self, record: object) -> None:
        """Add a schema or a channel, or count a message of a chunk."""
        if isinstance(record, Schema):
            self.schemas[record.id] = record
        elif isinstance(record, Channel):
            self.channels[record.id] = record
        elif isinstance(record, Message):
            self.counts[record.channel_id] += 1
            self.start_ns = min(self.start_ns, record.log_time)


class McapFile:
    """An MCAP file, complete or truncated."""

    remark = ""

    def __init__(self, path: Path) -> None:
        """Read or make the index of a file; errors of many types if it is damaged."""
        self._stream = path.open("rb")
        try:
            index = _read_index(self._stream) or _make_index(self._stream)
        except BaseException:
            self._stream.close()
            raise
        self._index = index
        self.problem = index.problem
        self.start_ns = index.start_ns
        self._by_id = {number: _connection(index, number) for number in sorted(index.channels)}
        self.connections = list(self._by_id.values())

    def messages(self, connections: Collection[Connection]) -> Iterator[Record]:
        """Yield messages in the order of log time; a damaged chunk raises errors of many types."""
        requested = set(connections)
        selected = {number for number, connection in self._by_id.items() if connection in requested}
        streams = [
            self._chunk(chunk, number, selected)
            for number, chunk in enumerate(self._index.chunks)
            if chunk.channels is None or chunk.channels & selected
        ]
        for log_ns, _, _, found in merge(*streams, self._loose(selected)):
            if found is not None:
                channel, data = found
                yield self._by_id[channel], log_ns, data

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _chunk(self, chunk: _IndexedChunk, number: int, selected: set[int]) -> Iterator[Any]:
        """Yield the start of a chunk, so that it is decompressed when its time comes, then its messages."""
        yield chunk.start_ns, number, -1, None
        found = [
            (record.log_time, number, index, (record.channel_id, record.data))
            for index, record in enumerate(_read_chunk(self._stream, chunk.offset))
            if isinstance(record, Message) and record.channel_id in selected
        ]
        yield from sorted(found)

    def _loose(self, selected: set[int]) -> Iterator[Any]:
        channels, times, offsets = (np.asarray(values) for values in self._index.loose)
        rows = np.flatnonzero(np.isin(channels, list(selected)))
        for row in rows[np.argsort(times[rows], kind="stable")]:
            self._stream.seek(int(offsets[row]))
            header = self._stream.read(_HEADER_SIZE)
            length = int.from_bytes(header[1:], "little")
            message = Message.read(ReadDataStream(self._stream), length)
            yield message.log_time, -1, int(row), (message.channel_id, message.data)


def _connection(index: _Index, number: int) -> Connection:
    channel = index.channels[number]
    schema = index.schemas.get(channel.schema_id)
    return Connection(
        channel.topic,
        normalized_type(schema.name) if schema else "",
        channel.message_encoding,
        schema.data.decode("utf-8", errors="replace") if schema else "",
        schema.encoding if schema else "",
        index.counts[number],
    )


def _read_index(stream: BinaryIO) -> _Index | None:
    """Return the index at the end of a file; None if it is absent or incomplete."""
    index = _Index()
    with suppress(Exception):  # errors of many types, if the end of the file is something else
        summary = SeekingReader(stream).get_summary()
        if summary is None or summary.statistics is None or not summary.chunk_indexes:
            return None
        index.schemas, index.channels = dict(summary.schemas), dict(summary.channels)
        index.counts.update(summary.statistics.channel_message_counts)
        index.start_ns = summary.statistics.message_start_time
        index.chunks = [
            _IndexedChunk(
                c.message_start_time, c.chunk_start_offset, frozenset(c.message_index_offsets) or None
            )
            for c in summary.chunk_indexes
        ]
        missing = {c.schema_id for c in index.channels.values()} - {0, *index.schemas}
        is_complete = len(index.chunks) == summary.statistics.chunk_count
        if is_complete and not missing and set(index.counts) <= set(index.channels):
            return index
    return None


def _make_index(stream: BinaryIO) -> _Index:
    """Return the index of a file by one pass over its whole records."""
    index = _Index()
    size = stream.seek(0, io.SEEK_END)
    position = _MAGIC_SIZE
    while True:
        stream.seek(position)
        header = stream.read(_HEADER_SIZE)
        end = position + _HEADER_SIZE + int.from_bytes(header[1:], "little")
        if len(header) == _HEADER_SIZE and header[0] in _END_OPCODES:
            return index
        if len(header) < _HEADER_SIZE or end > size or header[0] == 0:
            index.problem = (
                "it has no end: the recorder was killed or still writes, or the copy is incomplete"
            )
            return index
        try:
            _index_record(index, stream, header[0], position)
        except Exception as error:
            index.problem = f"a record at byte {position} is damaged ({_one_line(error)})"
            return index
        position = end


def _index_record(index: _Index, stream: BinaryIO, opcode: int, position: int) -> None:
    if opcode == Opcode.SCHEMA:
        index.add(Schema.read(ReadDataStream(stream)))
    elif opcode == Opcode.CHANNEL:
        index.add(Channel.read(ReadDataStream(stream)))
    elif opcode == Opcode.MESSAGE:
        start = stream.read(14)
        channel, log_ns = int.from_bytes(start[:2], "little"), int.from_bytes(start[6:], "little")
        for values, value in zip(index.loose, (channel, log_ns, position), strict=True):
            values.append(value)
        index.counts[channel] += 1
        index.start_ns = min(index.start_ns, log_ns)
    elif opcode == Opcode.CHUNK:
        records = _read_chunk(stream, position)
        messages = [record for record in records if isinstance(record, Message)]
        for record in records:
            index.add(record)
        if messages:
            start_ns = min(message.log_time for message in messages)
            channels = frozenset(message.channel_id for message in messages)
            index.chunks.append(_IndexedChunk(start_ns, position, channels))


def _read_chunk(stream: BinaryIO, offset: int) -> list[Any]:
    """Return the records of the chunk at an offset.

    Raises:
        ValueError: the chunk is damaged; the mcap library raises other types, too.
    """
    stream.seek(offset)
    header = stream.read(_HEADER_SIZE)
    if header[:1] != bytes([Opcode.CHUNK]):
        msg = f"no chunk at byte {offset}"
        raise ValueError(msg)
    chunk = Chunk.read(ReadDataStream(stream))
    if chunk.uncompressed_size > _MAX_CHUNK_BYTES:
        msg = f"the chunk at byte {offset} claims {chunk.uncompressed_size} bytes"
        raise ValueError(msg)
    return breakup_chunk(chunk, validate_crc=True)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
