# SPDX-License-Identifier: Apache-2.0
"""State files that are damaged or lie about their content: read right or refused in one line, in bounded memory."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeBackend, frame

from ttt3r_ros.config import from_mapping
from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.state_file import VERSION, read_state, write_state
from ttt3r_ros.pipeline import checkpoint
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.state_dict import flatten

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), allow_pickle=True)
    return file.getvalue()


def npy_with_header(header: str, data: bytes = b"") -> bytes:
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def header(descr: str = "'<f8'", shape: str = "(1,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


def write_zip(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("version.npy", npy(VERSION))
        for name, data in entries.items():
            archive.writestr(name, data)


def patch_directory(path: Path, offset: int, value: bytes) -> None:
    """Overwrite bytes of the last entry of the central directory."""
    content = bytearray(path.read_bytes())
    start = content.rindex(b"PK\x01\x02") + offset
    content[start : start + len(value)] = value
    path.write_bytes(content)


def deflated(path: Path) -> None:
    write_zip(path, {"a.npy": npy(np.zeros(10))}, zipfile.ZIP_DEFLATED)


def bomb(path: Path) -> None:
    """A thousand times as large as the file; the largest that a test can write quickly."""
    data = npy_with_header(header(shape="(25000000,)")) + bytes(200_000_000)
    write_zip(path, {"a.npy": data}, zipfile.ZIP_DEFLATED)


def claims_more_than_the_file(path: Path) -> None:
    write_zip(path, {"a.npy": npy(np.zeros(10))})
    patch_directory(path, 20, (0xFFFFFFF0).to_bytes(4, "little") * 2)


def overlapping(path: Path) -> None:
    """Many entries of the directory that share one entry of the file."""
    write_zip(path, {"a.npy": npy(np.zeros(100_000))})
    content = path.read_bytes()
    start, end = content.rindex(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
    entry = content[start:end]
    copies = b"".join(entry.replace(b"a.npy", b"%c.npy" % (98 + k)) for k in range(20))
    directory = content[content.index(b"PK\x01\x02") : end] + copies
    tail = bytearray(content[end:])
    tail[8:12] = (22).to_bytes(2, "little") * 2
    tail[12:16] = len(directory).to_bytes(4, "little")
    path.write_bytes(content[: content.index(b"PK\x01\x02")] + directory + tail)


def entry(data: bytes) -> Callable[[Path], None]:
    return lambda path: write_zip(path, {"a.npy": data})


LIES: dict[str, Callable[[Path], None]] = {
    "compressed": deflated,
    "bomb": bomb,
    "claims more than the file has": claims_more_than_the_file,
    "overlapping entries": overlapping,
    "unknown compression (NotImplementedError)": lambda path: (
        deflated(path),
        patch_directory(path, 10, (99).to_bytes(2, "little")),
    )[0],
    "encrypted (RuntimeError)": lambda path: (
        entry(npy(np.zeros(3)))(path),
        patch_directory(path, 8, (1).to_bytes(2, "little")),
    )[0],
    "objects": entry(npy(np.array([{}, []], object))),
    "array of 20 GB": entry(npy_with_header(header(shape="(2500000000,)"), bytes(8))),
    "array of 10^36 values": entry(npy_with_header(header(shape=f"({10**12}, {10**12}, {10**12})"))),
    "zero bytes per value": entry(npy_with_header(header("'<U0'", f"({10**12},)"))),
    "unending header (TokenError)": entry(npy_with_header("{'descr': '<f8', 'shape': (" + "1, " * 90)),
    "deeply nested header (MemoryError)": entry(npy_with_header("(" * 30_000 + ")" * 30_000)),
    "header with a number of 5000 digits": entry(npy_with_header(header(shape=f"({'9' * 5000},)"))),
    "structured type": entry(npy_with_header(header("[('a', '<f8')]"), bytes(8))),
    "negative length": entry(npy_with_header(header(shape="(-1,)"), bytes(8))),
    "too few values": entry(npy_with_header(header(shape="(3,)"), bytes(8))),
    "too many values": entry(npy_with_header(header(shape="(1,)"), bytes(16))),
    "big endian": entry(npy(np.zeros(1, ">f8"))),
    "a boolean of 7": entry(npy_with_header(header("'|b1'"), b"\x07")),
    "a character that does not exist": entry(npy_with_header(header("'<U1'"), b"\xff\xff\xff\x7f")),
    "no array": entry(b"text"),
    "an empty entry": entry(b""),
    "another file": lambda path: write_zip(path, {"a.txt": b"text"}),
    "the same name twice": lambda path: write_zip(path, {"version.npy": npy(VERSION)}),
    "a group and an array": lambda path: write_zip(path, {"a.npy": npy(1.0), "a.b.npy": npy(1.0)}),
    "version as a list": lambda path: np.savez(path, version=np.array([VERSION])),
    "empty file": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("state"),
    "pickle": lambda path: path.write_bytes(b"\x80\x04N."),
    "an array without archive": lambda path: path.write_bytes(npy(np.zeros(3))),
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop of links": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_file_is_refused_in_one_line_and_in_bounded_memory(lie: str, tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    LIES[lie](path)
    tracemalloc.start()
    try:
        with pytest.raises(SourceError) as refusal:
            read_state(path)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in str(refusal.value)
    assert len(str(refusal.value)) < 600
    assert "\n" not in str(refusal.value)
    assert peak_bytes < 20e6


@pytest.fixture(scope="module")
def real_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"pose_source": "visual_odometry", "map.max_voxels": 1000, "map.voxel_size": 0.5}
    mapping = Reconstructor(FakeBackend(), from_mapping(settings))
    for k in range(3):
        mapping.step(frame(20 + k))
    path = tmp_path_factory.mktemp("state") / "state.npz"
    write_state(path, {"reconstructor": checkpoint.state_dict(mapping)})
    return path


@pytest.mark.parametrize("flips", [200, pytest.param(2500, marks=pytest.mark.slow)])
def test_a_file_with_a_flipped_bit_is_refused_or_read_right(
    real_file: Path, tmp_path: Path, flips: int
) -> None:
    content, expected = real_file.read_bytes(), flatten(read_state(real_file))
    path = tmp_path / "state.npz"
    rng = np.random.default_rng(flips)
    structure = np.arange(content.index(b"PK\x01\x02"), len(content))  # the directory
    refused, wrong = 0, []
    for k in range(flips):
        position = int(rng.choice(structure) if k % 2 else rng.integers(len(content)))
        bit = int(rng.integers(8))
        damaged = bytearray(content)
        damaged[position] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            found = flatten(read_state(path))
        except SourceError:
            refused += 1
            continue
        is_right = found.keys() == expected.keys() and all(
            np.array_equal(found[name], expected[name]) and found[name].dtype == expected[name].dtype
            for name in expected
        )
        if not is_right:
            wrong.append((position, bit))
    assert wrong == []
    assert refused > 0.5 * flips


def test_a_cut_file_is_refused(real_file: Path, tmp_path: Path) -> None:
    content, path = real_file.read_bytes(), tmp_path / "state.npz"
    for length in np.linspace(0, len(content) - 1, 60).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(SourceError, match=r"state\.npz"):
            read_state(path)


def test_arrays_of_every_kind_are_read_as_written(tmp_path: Path) -> None:
    state = {
        "numbers": {
            str(np.dtype(kind)): np.arange(6).astype(kind).reshape(2, 3)
            for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
        },
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "empty": np.zeros((0, 3), np.float32),
        "scalar": 3.5,
        "boolean": True,
        "text": "é/b",
        "no_text": "",
        "texts": np.array(["", "äö", "x" * 300]),
        "no_texts": np.array([], np.str_),
    }
    write_state(tmp_path / "state.npz", state)
    found = read_state(tmp_path / "state.npz")
    np.testing.assert_equal(found, state)
    for name, array in flatten(found).items():
        assert array.dtype == flatten(state)[name].dtype
        assert array.flags.writeable
