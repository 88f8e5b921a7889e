# SPDX-License-Identifier: Apache-2.0
"""Reads torch.save files without executing their content.

The pickle is parsed into records. Tensors are built from these records after checking every number against the file.
"""

from __future__ import annotations

import mmap
import reprlib
import struct
import sys
import zipfile
import zlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from ttt3r_ros.errors import CheckpointError
from ttt3r_ros.model.checkpoints.inert_pickle import Record, read_pickle

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

_ZIP_MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_MAX_PICKLE_BYTES = 16 * 1024 * 1024
_MODEL_CALL = "ARCroco3DStereo("
_MAX_SEARCH_DEPTH = 16
_MAX_SHARING = 4
_DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
# Values in messages may be hostile: nested so that their full repr would not end.
_ECHO = reprlib.Repr()
_ECHO.maxlevel, _ECHO.maxstring, _ECHO.maxother = 2, 200, 80


@dataclass(frozen=True)
class Container:
    """State dict of a checkpoint and its model string, if there is one.

    The tensors are copy-on-write views of the memory-mapped file.
    """

    tensors: dict[str, torch.Tensor]
    model_string: str | None


def read_container(path: Path | str) -> Container:
    """Read a torch.save zip file; raises `CheckpointError` if it is damaged, hostile or of another format."""
    try:
        return _read(Path(path))
    except (CheckpointError, OSError) as error:
        msg = f"{path}: {getattr(error, 'strerror', None) or error}"
        raise CheckpointError(msg) from error


def _read(path: Path) -> Container:
    with path.open("rb") as stream:
        _check_magic(stream.read(512))
        view = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        archive = _Archive(stream, view)
    root = read_pickle(archive.pickle_bytes())
    tensors = {name: archive.tensor(name, record) for name, record in _state_dict(root)}
    _check_total(tensors, len(view))
    return Container(tensors, _find_model_string(root))


def _check_total(tensors: dict[str, torch.Tensor], available: int) -> None:
    # Tensors may share storage, but later copies must not exhaust the memory.
    claimed = sum(tensor.nbytes for tensor in tensors.values())
    if claimed > _MAX_SHARING * available:
        _fail(f"its tensors claim {claimed} bytes in a file of {available} bytes")


def _check_magic(start: bytes) -> None:
    if start.startswith(_ZIP_MAGIC):
        return
    if start[:1] == b"\x80" or start[257:262] == b"ustar":
        _fail(
            "the format is that of PyTorch before 1.6, which cannot be read safely; load the file in an "
            "isolated environment and write it again with torch.save of a current PyTorch"
        )
    _fail(
        f"the file begins with {start[:16]!r}; expected a zip file written by torch.save or a "
        ".safetensors file (the download may be a web page or a Git LFS pointer)"
    )


class _Archive:
    """The entries of a torch.save zip file and their tensors."""

    def __init__(self, stream: io.BufferedReader, view: mmap.mmap) -> None:
        self._view = view
        self._storages: dict[str, memoryview] = {}
        try:
            with zipfile.ZipFile(stream) as archive:
                entries = archive.infolist()
        # zipfile raises many exception types on damaged directories.
        except Exception as error:
            msg = f"the file is truncated or damaged ({error}); download it again"
            raise CheckpointError(msg) from error
        if sum(entry.file_size for entry in entries) > len(view):
            _fail("the file is damaged: its entries are larger than the file; download it again")
        self._entries = {entry.filename: entry for entry in entries}
        pickles = [n for n in self._entries if n.endswith("/data.pkl") and n.count("/") == 1]
        if len(pickles) != 1:
            _fail("not a zip file written by torch.save: expected exactly one entry NAME/data.pkl")
        self._root = pickles[0].removesuffix("data.pkl")
        self._check_byte_order()

    def pickle_bytes(self) -> bytes:
        size = self._entries[self._root + "data.pkl"].file_size
        if size > _MAX_PICKLE_BYTES:
            _fail(f"its pickle has {size} bytes; expected at most {_MAX_PICKLE_BYTES}")
        return bytes(self._bytes_of("data.pkl"))

    def tensor(self, name: Any, record: Any) -> torch.Tensor:
        """Build a tensor from its record after checking every number against the file."""
        if not isinstance(name, str):
            _fail(f"a tensor is stored under the key {_ECHO.repr(name)}; expected a string")
        try:
            return self._tensor(record)
        except (CheckpointError, RuntimeError, ValueError, OverflowError, TypeError) as error:
            msg = f"tensor {_ECHO.repr(name)}: {error}"
            raise CheckpointError(msg) from error

    def _tensor(self, record: Any) -> torch.Tensor:
        if _qualified_name(record) == "torch._utils._rebuild_parameter" and record.args:
            record = record.args[0]
        is_tensor = isinstance(record, Record) and len(record.args) >= 4
        if not is_tensor or _qualified_name(record) != "torch._utils._rebuild_tensor_v2":
            kind = _qualified_name(record) or type(record).__name__
            _fail(f"stored as {kind}; expected a dense tensor")
        storage, offset, shape, strides = record.args[:4]
        data, dtype = self._storage(storage)
        available = len(data) // dtype.itemsize
        _check_layout(offset, shape, strides, available)
        if available == 0:
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(data, dtype=dtype).as_strided(shape, strides, offset)

    def _storage(self, reference: Any) -> tuple[memoryview, torch.dtype]:
        """Return the bytes and type of a storage reference."""
        pid = reference.args[0] if isinstance(reference, Record) and reference.args else None
        if (
            not isinstance(pid, tuple)
            or len(pid) != 5
            or pid[0] != "storage"
            or not isinstance(pid[2], str)
        ):
            _fail("it has no storage")
        _, kind, key, _, count = pid
        dtype = _DTYPES.get(_qualified_name(kind))
        if dtype is None:
            _fail(f"the storage type is {_ECHO.repr(kind)}; expected one of {', '.join(_DTYPES)}")
        if key not in self._storages:
            self._storages[key] = self._bytes_of(f"data/{key}")
        data = self._storages[key]
        if not _is_count(count) or count * dtype.itemsize != len(data):
            _fail(
                f"it claims {_ECHO.repr(count)} elements of {dtype}, but its storage has {len(data)} bytes"
            )
        return data, dtype

    def _bytes_of(self, name: str) -> memoryview:
        """Return the mapped bytes of an uncompressed entry, after checking their checksum."""
        entry = self._entries.get(self._root + name)
        if entry is None:
            _fail(f"the file is damaged: entry {name} is missing; download it again")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            _fail(f"entry {name} is compressed or encrypted; torch.save does not write such entries")
        start = self._start_of(entry, name)
        data = memoryview(self._view)[start : start + entry.file_size]
        if len(data) != entry.file_size or zlib.crc32(data) != entry.CRC:
            _fail(f"the file is damaged: the checksum of entry {name} is wrong; download it again")
        return data

    def _start_of(self, entry: zipfile.ZipInfo, name: str) -> int:
        header = self._view[entry.header_offset : entry.header_offset + _LOCAL_HEADER.size]
        if len(header) != _LOCAL_HEADER.size or not header.startswith(_ZIP_MAGIC):
            _fail(f"the file is damaged: entry {name} has no header at its offset; download it again")
        _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        return int(entry.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes)

    def _check_byte_order(self) -> None:
        has_record = self._root + "byteorder" in self._entries
        order = (
            bytes(self._bytes_of("byteorder")[:16]).decode(errors="replace") if has_record else "little"
        )
        if order != sys.byteorder:
            _fail(
                f"the byte order of the file is {order!r}, that of this machine {sys.byteorder!r}; "
                "convert it to .safetensors on a machine of the same byte order"
            )


def _check_layout(offset: Any, shape: Any, strides: Any, available: int) -> None:
    if not _is_count(offset) or not _are_counts(shape) or not _are_counts(strides):
        _raise_invalid_layout(offset, shape, strides, "; expected non-negative integers")
    if len(shape) != len(strides):
        _raise_invalid_layout(offset, shape, strides, "; expected one stride per axis")
    count = 1
    for size in shape:
        count *= size
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if count > available or (count and last >= available):
        _raise_invalid_layout(
            offset, shape, strides, f", which exceeds the storage of {available} elements"
        )


def _raise_invalid_layout(offset: Any, shape: Any, strides: Any, reason: str) -> NoReturn:
    _fail(
        f"the layout is offset {_ECHO.repr(offset)}, shape {_ECHO.repr(shape)}, "
        f"strides {_ECHO.repr(strides)}{reason}"
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _are_counts(values: Any) -> bool:
    return isinstance(values, tuple) and len(values) <= 16 and all(map(_is_count, values))


def _qualified_name(value: Any) -> str:
    return value.name if isinstance(value, Record) else ""


def _state_dict(root: Any) -> list[tuple[Any, Any]]:
    """Return names and records of the tensors."""
    top = root if isinstance(root, Record) else Record("")
    for candidate in (top.entry("model"), top):
        entries = candidate.entries if isinstance(candidate, Record) else []
        if any(_qualified_name(value).startswith("torch._utils.") for _, value in entries):
            return entries
    keys = ", ".join(_ECHO.repr(key) for key, _ in top.entries[:10])
    msg = f"no state dict; expected tensors under 'model' or at the top, found the keys [{keys[:200]}]"
    raise CheckpointError(msg)


def _find_model_string(root: Any) -> str | None:
    """Search breadth first, 'args' first; a string under a key 'model' is preferred."""
    args = root.entry("args") if isinstance(root, Record) else None
    queue: deque[tuple[Any, bool, int]] = deque([(args, False, 0), (root, False, 0)])
    seen: set[tuple[int, bool]] = set()
    fallback = None
    while queue:
        node, under_model, depth = queue.popleft()
        # An object with many references is searched at most twice.
        if (id(node), under_model) in seen or depth > _MAX_SEARCH_DEPTH:
            continue
        seen.add((id(node), under_model))
        if isinstance(node, str) and _MODEL_CALL in node:
            if under_model:
                return node
            fallback = fallback or node
        queue.extend((child, under_model or is_model, depth + 1) for is_model, child in _children(node))
    return fallback


def _children(node: Any) -> Iterator[tuple[bool, Any]]:
    """Yield the parts of an object, each with whether its key is 'model'."""
    if isinstance(node, Record):
        yield from ((False, part) for part in (node.args, node.state, node.members))
        yield from ((isinstance(key, str) and key == "model", value) for key, value in node.entries)
    elif isinstance(node, (list, tuple)):
        yield from ((False, item) for item in node)


def _fail(message: str) -> NoReturn:
    raise CheckpointError(message)
