# SPDX-License-Identifier: Apache-2.0
"""Reads torch.save files without running anything that is in them.

A pickle is a program that may call any function. Here every name it asks for becomes an inert
placeholder that only records what was done to it; tensors are then built from these records, after
checking them against the file.
"""

from __future__ import annotations

import io
import mmap
import pickle
import pickletools
import re
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ZIP_MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_MAX_PICKLE_BYTES = 16 * 1024 * 1024
_MAX_GLOBALS = 1000
_MODEL_CALL = "ARCroco3DStereo("
_MAX_SEARCH_DEPTH = 16
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
# Never written by torch.save; they bypass find_class, reserve memory on their word or parse slowly.
_FOREIGN_OPCODE = re.compile(
    r"EXT[124]|BYTEARRAY8|NEXT_BUFFER|READONLY_BUFFER|INST|OBJ|PERSID|PUT|GET|INT|LONG|FLOAT|STRING|UNICODE"
)


@dataclass(frozen=True)
class Container:
    """The state dict of a checkpoint and the string that describes its network, if there is one.

    The tensors are private copy-on-write views of the mapped file.
    """

    tensors: dict[str, torch.Tensor]
    model_string: str | None


def read_container(path: Path | str) -> Container:
    """Read a torch.save zip file; raises `CheckpointError` if it is damaged, hostile or not one."""
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
    root = _unpickle(archive.pickle_bytes())
    tensors = {str(name): archive.tensor(name, value) for name, value in _state_dict(root).items()}
    return Container(tensors, _find_model_string(root))


def _check_magic(start: bytes) -> None:
    if start.startswith(_ZIP_MAGIC):
        return
    if start[:1] == b"\x80" or start[257:262] == b"ustar":
        _fail(
            "the format is that of PyTorch before 1.6, which cannot be read safely; load the file in an "
            "environment where that is no risk and write it again with torch.save of a current PyTorch"
        )
    _fail(
        f"the file begins with {start[:16]!r}; expected a zip file written by torch.save or a "
        ".safetensors file (a web page or a Git LFS pointer may have been downloaded instead)"
    )


class _Placeholder:
    """Stands in for an object of the pickle; records arguments, state and items, and does nothing."""

    qualified_name = ""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    state: Any
    entries: dict[Any, Any]
    members: list[Any]

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        self.args, self.kwargs = args, kwargs
        self.state, self.entries, self.members = None, {}, []
        return self

    def __call__(self, *args: Any) -> Any:
        return _Placeholder(self, *args)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    def append(self, item: Any) -> None:
        self.members.append(item)

    add = append

    def extend(self, items: list[Any]) -> None:
        self.members.extend(items)


class _InertUnpickler(pickle.Unpickler):
    """Imports nothing and calls nothing but placeholders."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._classes: dict[str, type[_Placeholder]] = {}

    def find_class(self, module: str, name: str, /) -> Any:
        qualified_name = f"{module}.{name}"
        if qualified_name not in self._classes:
            if len(self._classes) == _MAX_GLOBALS:
                _fail(f"its pickle names more than {_MAX_GLOBALS} classes and functions")
            body = {"qualified_name": qualified_name}
            self._classes[qualified_name] = type("_Placeholder", (_Placeholder,), body)
        return self._classes[qualified_name]

    def persistent_load(self, pid: Any) -> Any:
        return _Placeholder(pid)


def _unpickle(data: bytes) -> Any:
    try:
        _check_opcodes(data)
        return _InertUnpickler(data).load()
    except CheckpointError:
        raise
    # A malformed pickle can make the unpickler raise nearly any exception.
    except Exception as error:
        msg = f"its pickle is damaged or hostile ({type(error).__name__}: {error})"
        raise CheckpointError(msg) from error


def _check_opcodes(data: bytes) -> None:
    for opcode, argument, position in pickletools.genops(data):
        if _FOREIGN_OPCODE.fullmatch(opcode.name):
            _fail(f"its pickle holds {opcode.name} at byte {position}, which torch.save never writes")
        if opcode.name == "LONG_BINPUT" and (argument or 0) > len(data):
            _fail(f"its pickle asks for a memo of {argument} entries at byte {position}")


class _Archive:
    """The entries of a torch.save zip file, and the tensors in them."""

    def __init__(self, stream: io.BufferedReader, view: mmap.mmap) -> None:
        self._view = view
        self._storages: dict[str, memoryview] = {}
        try:
            with zipfile.ZipFile(stream) as archive:
                self._entries = {entry.filename: entry for entry in archive.infolist()}
        # zipfile raises many kinds of errors on damaged directories.
        except Exception as error:
            msg = f"the file is truncated or damaged ({error}); download it again"
            raise CheckpointError(msg) from error
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
        """Build a tensor from its record; every number in it is checked against the file."""
        if not isinstance(name, str):
            _fail(f"a tensor is stored under the key {name!r}; expected a string")
        try:
            return self._tensor(record)
        except (CheckpointError, RuntimeError, ValueError, OverflowError, TypeError) as error:
            msg = f"tensor {name!r}: {error}"
            raise CheckpointError(msg) from error

    def _tensor(self, record: Any) -> torch.Tensor:
        if _qualified_name(record) == "torch._utils._rebuild_parameter" and record.args:
            record = record.args[0]
        is_tensor = isinstance(record, _Placeholder) and len(record.args) >= 4
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
        """Return the bytes and the type of a storage, given what torch.save wrote in its place."""
        pid = reference.args[0] if isinstance(reference, _Placeholder) and reference.args else None
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
            _fail(f"the storage type is {_qualified_name(kind)!r}; expected one of {', '.join(_DTYPES)}")
        if key not in self._storages:
            self._storages[key] = self._bytes_of(f"data/{key}")
        data = self._storages[key]
        if not _is_count(count) or count * dtype.itemsize != len(data):
            _fail(f"it claims {count!r} elements of {dtype}, but its storage has {len(data)} bytes")
        return data, dtype

    def _bytes_of(self, name: str) -> memoryview:
        """Return the mapped bytes of an uncompressed entry, after checking their checksum."""
        entry = self._entries.get(self._root + name)
        if entry is None:
            _fail(f"the file is damaged: entry {name} is missing; download it again")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            _fail(f"entry {name} is compressed or encrypted; torch.save never writes such entries")
        start = self._start_of(entry, name)
        data = memoryview(self._view)[start : start + entry.file_size]
        if len(data) != entry.file_size or zlib.crc32(data) != entry.CRC:
            _fail(f"the file is damaged: the checksum of entry {name} is wrong; download it again")
        return data

    def _start_of(self, entry: zipfile.ZipInfo, name: str) -> int:
        header = self._view[entry.header_offset : entry.header_offset + _LOCAL_HEADER.size]
        if len(header) != _LOCAL_HEADER.size or not header.startswith(_ZIP_MAGIC):
            _fail(f"the file is damaged: entry {name} is not where it should be; download it again")
        _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        return int(entry.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes)

    def _check_byte_order(self) -> None:
        has_record = self._root + "byteorder" in self._entries
        order = bytes(self._bytes_of("byteorder")).decode(errors="replace") if has_record else "little"
        if order != sys.byteorder:
            _fail(
                f"the byte order of the file is {order!r}, that of this machine {sys.byteorder!r}; "
                "convert it to .safetensors on a machine of the same byte order"
            )


def _check_layout(offset: Any, shape: Any, strides: Any, available: int) -> None:
    layout = f"offset {offset!r}, shape {shape!r}, strides {strides!r}"
    if not _is_count(offset) or not _are_counts(shape) or not _are_counts(strides):
        _fail(f"the layout is {layout}; expected non-negative integers")
    if len(shape) != len(strides):
        _fail(f"the layout is {layout}; expected one stride per axis")
    count = 1
    for size in shape:
        count *= size
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if count > available or (count and last >= available):
        _fail(f"the layout is {layout}, which leaves the storage of {available} elements")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _are_counts(values: Any) -> bool:
    return isinstance(values, tuple) and len(values) <= 16 and all(map(_is_count, values))


def _qualified_name(record: Any) -> str:
    is_class = isinstance(record, type) and issubclass(record, _Placeholder)
    return str(record.qualified_name) if is_class or isinstance(record, _Placeholder) else ""


def _mapping(record: Any) -> Mapping[Any, Any] | None:
    """Return the items of a dict or of a recorded OrderedDict or the like, None for anything else."""
    if isinstance(record, _Placeholder):
        return record.entries
    return record if isinstance(record, dict) else None


def _state_dict(root: Any) -> Mapping[Any, Any]:
    top = _mapping(root) or {}
    for candidate in (_mapping(top.get("model")), top):
        if candidate and any(_qualified_name(v).startswith("torch._utils.") for v in candidate.values()):
            return candidate
    keys = ", ".join(map(repr, list(top)[:10]))
    msg = f"no state dict; expected tensors under 'model' or at the top, found the keys [{keys[:200]}]"
    raise CheckpointError(msg)


def _find_model_string(root: Any) -> str | None:
    """Search breadth first, 'args' before the rest; a string under a key 'model' wins over others."""
    top = _mapping(root) or {}
    queue: deque[tuple[Any, bool, int]] = deque([(top.get("args"), False, 0), (top, False, 0)])
    seen: set[int] = set()
    fallback = None
    while queue:
        node, under_model, depth = queue.popleft()
        if isinstance(node, str) and _MODEL_CALL in node:
            if under_model:
                return node
            fallback = fallback or node
        if id(node) not in seen and depth < _MAX_SEARCH_DEPTH:
            seen.add(id(node))
            queue.extend(
                (child, under_model or key == "model", depth + 1) for key, child in _children(node)
            )
    return fallback


def _children(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, _Placeholder):
        yield from vars(node).items()
    elif isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield "", item


def _fail(message: str) -> NoReturn:
    raise CheckpointError(message)
