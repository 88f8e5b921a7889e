# SPDX-License-Identifier: Apache-2.0
"""What the writers write, the readers read: one property test for each pair of them."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ttt3r_ros.geometry import pose_matrix_xyzw
from ttt3r_ros.io.camera_files import parse_intrinsics
from ttt3r_ros.io.export.point_cloud import read_ply, write_pcd, write_ply
from ttt3r_ros.io.frame_records import FrameRecord, read_frames, write_frames
from ttt3r_ros.io.run_folder import RUN, RunFolder
from ttt3r_ros.io.trajectory_files import read_tum, write_tum
from ttt3r_ros.mapping.voxel_map import PointCloud
from ttt3r_ros.offline.outputs import write_json
from ttt3r_ros.settings import _yaml_text
from ttt3r_ros.text_files import read_json

numbers = st.floats(allow_nan=False)
stamps_ns = st.integers(0, 2**63 - 1)
texts = st.text(max_size=20)  # with quotes, separators, line ends, NUL, other scripts
printable_texts = texts.map(lambda text: "".join(filter(str.isprintable, text)))


@pytest.fixture(scope="module")
def folder() -> Any:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


# --- frames.csv -------------------------------------------------------------------------------------

records = st.builds(
    FrameRecord,
    index=st.integers(0, 2**31),
    stamp_ns=stamps_ns,
    map_id=st.integers(0, 10),
    skipped=printable_texts,
    skip_detail=printable_texts,
    segment=st.integers(0, 2**31),
    scale=numbers,
    confidence_mean=numbers,
    fused_fraction=numbers,
    landmarks=st.integers(0, 300),
    position_std_m=numbers,
    fx=numbers,
    fy=numbers,
    cx=numbers,
    cy=numbers,
    width=st.integers(0, 10_000),
    height=st.integers(0, 10_000),
    distortion=printable_texts,
)


@given(st.lists(records, max_size=4))
@settings(max_examples=100, deadline=None)
def test_frames(folder: Path, written: list[FrameRecord]) -> None:
    write_frames(folder / "frames.csv", written)
    assert read_frames(folder / "frames.csv") == written


@pytest.mark.parametrize(
    "text", ["\r", "a\r\nb", "\0", "\x1c", "\u2028", "name\udc80", '"\n,', "x" * 300_000], ids=range(8)
)
def test_frames_with_texts_that_csv_cannot_have(folder: Path, text: str) -> None:
    written = [FrameRecord(0, 1, 0, skipped=text, skip_detail=f"detail {text}"), FrameRecord(1, 2, 0)]
    write_frames(folder / "frames.csv", written)
    read, other = read_frames(folder / "frames.csv")
    assert (len(read.skipped), read.skip_detail[:7]) == (min(len(text), 1000), "detail ")
    assert (read.stamp_ns, other) == (1, written[1])


# --- trajectory.txt ---------------------------------------------------------------------------------

quaternions = (
    st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4)
    .map(np.array)
    .filter(lambda q: np.linalg.norm(q) > 0.1)
)
rows = st.tuples(st.lists(st.floats(-1e9, 1e9), min_size=3, max_size=3), quaternions).map(
    lambda pair: np.array([*pair[0], *(pair[1] / np.linalg.norm(pair[1]))])
)


@given(st.lists(st.tuples(stamps_ns, rows), max_size=4))
@settings(max_examples=200, deadline=None)
def test_trajectories(folder: Path, written: list[tuple[int, np.ndarray]]) -> None:
    poses = np.array([row for _, row in written]).reshape(-1, 7)
    write_tum(folder / "trajectory.txt", [stamp_ns for stamp_ns, _ in written], poses)
    read = read_tum(folder / "trajectory.txt")
    assert [stamp_ns for stamp_ns, _ in read] == [stamp_ns for stamp_ns, _ in written]
    expected = pose_matrix_xyzw(poses)
    np.testing.assert_allclose(
        np.array([T for _, T in read]).reshape(-1, 4, 4), expected, atol=1e-8, rtol=1e-12
    )


# --- map.ply, map.pcd -------------------------------------------------------------------------------

bits = st.integers(0, 2**32 - 1)
points = st.lists(st.tuples(bits, bits, bits, st.integers(0, 2**24 - 1)), max_size=6)


def to_cloud(values: list[tuple[int, ...]]) -> PointCloud:
    """Return points of any bits: also NaN, infinity and bytes of line ends."""
    xyz = np.frombuffer(
        struct.pack(f"<{3 * len(values)}I", *(v for row in values for v in row[:3])), "<f4"
    )
    rgb = [[row[3] >> 16, row[3] >> 8 & 255, row[3] & 255] for row in values]
    return PointCloud(xyz.reshape(-1, 3).copy(), np.array(rgb, np.uint8).reshape(-1, 3))


@given(points)
@settings(max_examples=200, deadline=None)
def test_point_clouds(folder: Path, values: list[tuple[int, ...]]) -> None:
    cloud = to_cloud(values)
    write_ply(folder / "map.ply", cloud)
    xyz, rgb = read_ply(folder / "map.ply")
    np.testing.assert_array_equal(xyz.view(np.uint32), cloud.points.view(np.uint32))
    np.testing.assert_array_equal(rgb, cloud.rgb)
    write_pcd(folder / "map.pcd", cloud)
    header, body = (folder / "map.pcd").read_bytes().split(b"DATA binary\n", 1)
    assert f"POINTS {len(values)}\n".encode() in header
    pcd = np.frombuffer(body, "<u4").reshape(-1, 4)
    np.testing.assert_array_equal(pcd[:, :3], cloud.points.view(np.uint32))
    packed = (cloud.rgb.astype(np.uint32) << np.array([16, 8, 0], np.uint32)).sum(axis=1)
    np.testing.assert_array_equal(pcd[:, 3] & 0xFFFFFF, packed)


# --- camera.json, run.json, parameters --------------------------------------------------------------


@given(
    st.lists(st.floats(1e-3, 1e6), min_size=4, max_size=4),
    st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
)
def test_cameras(folder: Path, numbers: list[float], size: tuple[int, int]) -> None:
    path = folder / "camera.json"
    written = dict(zip(("fx", "fy", "cx", "cy"), numbers, strict=True))
    write_json(path, {**written, "width": size[0], "height": size[1]})
    camera = parse_intrinsics(read_json(path), path)
    assert [camera.fx, camera.fy, camera.cx, camera.cy] == numbers
    assert (camera.width, camera.height) == size


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters())),
    lambda values: st.one_of(st.lists(values), st.dictionaries(st.text(), values)),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_run_descriptions(folder: Path, written: dict[str, Any]) -> None:
    write_json(folder / RUN, written)
    np.testing.assert_equal(RunFolder(folder).meta, written)


def test_run_descriptions_with_names_that_utf8_does_not_have(folder: Path) -> None:
    write_json(folder / RUN, {"source": "/data/\udcfcber"})
    assert RunFolder(folder).meta == {"source": "/data/\udcfcber"}
    assert json.loads((folder / RUN).read_text(encoding="utf-8"))["source"] == "/data/\udcfcber"


@given(
    st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False), printable_texts)
)
@settings(max_examples=300, deadline=None)
def test_values_of_parameter_files(value: Any) -> None:
    read = yaml.safe_load(f"key: {_yaml_text(value)}\n")["key"]
    assert read == value
    assert type(read) is type(value)
