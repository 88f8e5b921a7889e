# SPDX-License-Identifier: Apache-2.0
"""Depth in millimeters, and measured depth in messages."""

from __future__ import annotations

import numpy as np
import pytest

from ttt3r_ros.errors import ImageError
from ttt3r_ros.images.depth import decode_depth, depth_to_mm
from ttt3r_ros.images.encodings import RawImage


def test_millimeters_are_rounded_and_0_without_depth() -> None:
    depth = np.array([[1.2344, 1.2346, 0.001], [65.535, 65.54, 1e9], [np.nan, np.inf, -1.0]], np.float32)
    millimeters = depth_to_mm(depth)
    assert millimeters.dtype == np.uint16
    np.testing.assert_array_equal(millimeters, [[1234, 1235, 1], [65535, 0, 0], [0, 0, 0]])


def raw(
    values: np.ndarray, encoding: str, *, big_endian: bool = False, padding: int = 0, **changed: int
) -> RawImage:
    """Return an image (H, W) of 4-byte floats or 2-byte integers of a message."""
    kind = ("f4", "u2")[encoding != "32FC1"]
    rows = np.ascontiguousarray(values.astype((">" if big_endian else "<") + kind)).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    sizes = {"width": values.shape[1], "height": values.shape[0], "step": rows.shape[1]} | changed
    return RawImage(encoding=encoding, big_endian=big_endian, data=rows.ravel(), **sizes)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 6])
def test_measured_meters_are_read_exactly_and_infinity_is_unknown(
    *, big_endian: bool, padding: int
) -> None:
    meters = np.array([[0.5, np.nan, 1.25], [65.0, 0.0, np.inf]], np.float32)
    depth = decode_depth(raw(meters, "32FC1", big_endian=big_endian, padding=padding))
    assert depth.dtype == np.float32
    assert depth.dtype.isnative
    np.testing.assert_array_equal(depth, [[0.5, np.nan, 1.25], [65.0, 0.0, np.nan]])


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_measured_millimeters_become_meters_and_0_is_unknown(encoding: str, *, big_endian: bool) -> None:
    millimeters = np.array([[0, 1, 1500], [65535, 0, 258]])
    depth = decode_depth(raw(millimeters, encoding, big_endian=big_endian, padding=2))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, [[np.nan, 0.001, 1.5], [65.535, np.nan, 0.258]], rtol=1e-6)


@pytest.mark.parametrize("changed", [{"step": 11}, {"height": 3}, {"width": 0}, {"height": 0}])
def test_measured_depth_with_inconsistent_size_and_data_is_an_error(changed: dict[str, int]) -> None:
    image = raw(np.ones((2, 3)), "32FC1", **changed)
    with pytest.raises(ImageError, match=rf"'32FC1'.*{image.width}x{image.height}.*expected"):
        decode_depth(image)


def test_a_color_image_is_not_depth() -> None:
    with pytest.raises(ImageError, match="encoding 'rgb8' of a depth image; expected 32FC1 or 16UC1"):
        decode_depth(raw(np.ones((2, 3)), "rgb8"))


def test_depth_is_a_copy_of_the_message_data() -> None:
    image = raw(np.ones((2, 3)), "32FC1")
    depth = decode_depth(image)
    image.data[:] = 0
    np.testing.assert_array_equal(depth, 1.0)
