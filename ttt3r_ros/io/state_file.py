# SPDX-License-Identifier: Apache-2.0
"""State files: a state dict in one NPZ file without pickled objects.

A file may be damaged or written to do harm. The reader accepts the form that `write_state` writes and nothing else:
uncompressed entries in NPY format 1.0 with plain types, which together are no larger than the file.
"""

from __future__ import annotations

import math
import re
import stat
import zipfile
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.atomic import atomic_write
from ttt3r_ros.state_dict import flatten, unflatten

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ttt3r_ros.state_dict import StateDict

VERSION = 2  # of the whole state; a change of any `state_dict` needs a new one
MAX_BYTES = 8 << 30  # a map of 100 million voxels and a path of 10 million poses
_MAX_ENTRIES = 100_000
_DIRECTORY_ENTRY, _DIRECTORY_END, _ZIP64_END = 46, 22, 76  # bytes without names in the ZIP format
_SUFFIX = ".npy"
_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEADER = re.compile(
    r"\{'descr': '([<|](?:b1|[iu][1248]|f[248]|U[1-9]\d{0,5}))', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,15}(?:, \d{1,15}){0,7},?)?)\), \} *\n"
)
_MAX_CODE_POINT = 0x10FFFF


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state dict.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as file:
        np.savez(file, version=np.array(VERSION), **flatten(state))  # type: ignore[arg-type]


def read_state(path: Path) -> StateDict:
    """Read the state dict that `write_state` wrote; scalars are arrays without dimensions.

    Raises:
        SourceError: the file does not exist, is damaged, or has another version.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            _refuse("it is no regular file")
        with path.open("rb") as raw, zipfile.ZipFile(raw) as archive:
            arrays = _read_arrays(archive, path.stat().st_size)
    except FileNotFoundError as error:
        msg = f"{path} does not exist; save_state writes it"
        raise SourceError(msg) from error
    except Exception as error:  # zipfile raises errors of many types for damaged files
        msg = f"{path} is not a state file or is damaged: {_one_line(error)}"
        raise SourceError(msg) from error
    found = arrays.pop("version", np.array(0))
    if found.shape != () or found.dtype.kind != "i" or int(found) != VERSION:
        msg = f"{path} has version {found if found.size == 1 else found.shape}; expected {VERSION}"
        raise SourceError(msg)
    try:
        return unflatten(arrays)
    except SourceError as error:
        msg = f"{path}: {error}"
        raise SourceError(msg) from error


def _read_arrays(archive: zipfile.ZipFile, file_bytes: int) -> dict[str, NDArray[Any]]:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    total = sum(entry.file_size for entry in entries)
    if len(names) > _MAX_ENTRIES or len(set(names)) < len(names):
        _refuse(f"it has {len(names)} entries, {len(set(names))} distinct")
    if total > min(file_bytes, MAX_BYTES):
        _refuse(
            f"its entries claim {total} bytes in a file of {file_bytes}; at most {MAX_BYTES} are read"
        )
    directory = sum(
        _DIRECTORY_ENTRY + len(name) + len(e.extra) for name, e in zip(names, entries, strict=True)
    )
    if archive.start_dir + directory + _DIRECTORY_END not in (file_bytes, file_bytes - _ZIP64_END):
        _refuse("its directory is incomplete")
    arrays = {}
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            _refuse(f"{entry.filename!r} is compressed")
        if not entry.filename.endswith(_SUFFIX):
            _refuse(f"{entry.filename!r} is no array")
        arrays[entry.filename[: -len(_SUFFIX)]] = _parse_array(entry.filename, archive.read(entry))
    return arrays


def _parse_array(name: str, data: bytes) -> NDArray[Any]:
    """Return the array of an NPY file; without the evaluation of its header as Python by NumPy."""
    start = len(_NPY_MAGIC) + 2
    end = start + int.from_bytes(data[start - 2 : start], "little")
    header = _NPY_HEADER.fullmatch(data[start:end].decode("latin-1"))
    if not data.startswith(_NPY_MAGIC) or header is None:
        _refuse(f"{name!r} has another header than a plain array")
    dtype = np.dtype(header[1])
    shape = tuple(int(length) for length in header[3].split(",") if length.strip())
    expected = math.prod(shape) * dtype.itemsize
    if len(data) - end != expected:
        _refuse(f"{name!r} has {len(data) - end} bytes; expected {expected} for {dtype} {shape}")
    array = np.frombuffer(data, dtype, offset=end)
    _validate_bytes(name, array)
    return array.reshape(shape, order="F" if header[2] == "True" else "C").copy()


def _validate_bytes(name: str, array: NDArray[Any]) -> None:
    """Refuse booleans other than 0 and 1, and characters that do not exist: NumPy fails when it reads them."""
    if array.dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        _refuse(f"{name!r} has booleans other than 0 and 1")
    if array.dtype.kind == "U" and array.view("<u4").max(initial=0) > _MAX_CODE_POINT:
        _refuse(f"{name!r} has characters that do not exist")


def _refuse(problem: str) -> NoReturn:
    raise SourceError(problem)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or repr(error)
