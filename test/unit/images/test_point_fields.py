# SPDX-License-Identifier: Apache-2.0
"""Packed points, byte by byte."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from ttt3r_ros.images.point_fields import POINT_DTYPE, pack_points


def cloud(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(*shape, 3)).astype(np.float32)
    return points, rng.integers(0, 256, size=(*shape, 3), dtype=np.uint8)


def laid_out(points: np.ndarray, rgb: np.ndarray) -> bytes:
    """Return x, y, z, then 0x00RRGGBB, each four bytes with the lowest first, of every point in row order."""
    pairs = zip(points.reshape(-1, 3).tolist(), rgb.reshape(-1, 3).tolist(), strict=True)
    return b"".join(struct.pack("<fff", *point) + bytes((b, g, r, 0)) for point, (r, g, b) in pairs)


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (0, 4), (3, 5)])
def test_a_record_has_x_y_z_and_four_bytes_of_color(shape: tuple[int, ...]) -> None:
    points, rgb = cloud(*shape)
    records = pack_points(points, rgb)
    assert (records.shape, records.dtype) == (shape, POINT_DTYPE)
    assert records.tobytes() == laid_out(points, rgb)


def test_nan_and_infinity_are_packed_bit_by_bit() -> None:
    points, rgb = cloud(2, 2)
    points[0, 1] = np.nan, -np.inf, np.frombuffer(b"\x01\x00\xc0\xff", np.float32)[0]
    stored = np.frombuffer(pack_points(points, rgb).tobytes(), np.uint32).reshape(2, 2, 4)
    np.testing.assert_array_equal(stored[0, 1, :3], points.view(np.uint32)[0, 1])


def test_strided_points_and_doubles_are_packed_equally() -> None:
    points, rgb = cloud(8)
    assert pack_points(points[::2], rgb[::2]).tobytes() == laid_out(points[::2], rgb[::2])
    doubles: np.ndarray = points.astype(np.float64)
    assert pack_points(doubles, rgb).tobytes() == laid_out(points, rgb)


def test_records_are_written_to_the_given_array() -> None:
    points, rgb = cloud(6)
    memory = bytearray(6 * POINT_DTYPE.itemsize)
    pack_points(points, rgb, out=np.frombuffer(memory, POINT_DTYPE))
    assert bytes(memory) == laid_out(points, rgb)
