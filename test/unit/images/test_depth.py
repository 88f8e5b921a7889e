# SPDX-License-Identifier: Apache-2.0
"""Depth at the resolution of the source image, and in millimeters."""

from __future__ import annotations

import numpy as np
import pytest

from ttt3r_ros.errors import ImageError
from ttt3r_ros.images.depth import decode_depth, depth_to_mm, resize_to_source
from ttt3r_ros.images.encodings import RawImage
from ttt3r_ros.types import ImageGeometry

CROPPED = ImageGeometry(640, 480, 80, 60, 0, 2, 80, 56)  # four rows of the resized image are cut off
WHOLE = ImageGeometry(64, 48, 16, 12, 0, 0, 16, 12)


def coordinates(geometry: ImageGeometry) -> tuple[np.ndarray, np.ndarray]:
    """Return where each source pixel (H, W) lies in the network's image: x, y."""
    sx, sy = geometry.scale
    u, v = np.meshgrid(np.arange(geometry.source_width), np.arange(geometry.source_height))
    return (u + 0.5) * sx - 0.5 - geometry.left, (v + 0.5) * sy - 0.5 - geometry.top


def slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (3.0 + 0.02 * x + 0.03 * y).astype(np.float32)


def network_grid(geometry: ImageGeometry) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.meshgrid(np.arange(geometry.width), np.arange(geometry.height)))


@pytest.mark.parametrize(
    "geometry",
    [
        CROPPED,
        WHOLE,
        ImageGeometry(480, 640, 60, 80, 2, 0, 56, 80),
        ImageGeometry(37, 23, 80, 50, 3, 1, 70, 48),  # a source smaller than the network's image
    ],
)
def test_a_sloping_surface_is_interpolated_at_the_centers_of_the_source_s_pixels(
    geometry: ImageGeometry,
) -> None:
    resized = resize_to_source(slope(*network_grid(geometry)), geometry)
    x, y = coordinates(geometry)
    assert resized.shape == (geometry.source_height, geometry.source_width)
    assert resized.dtype == np.float32
    between = (x >= 0) & (x <= geometry.width - 1) & (y >= 0) & (y <= geometry.height - 1)
    np.testing.assert_allclose(resized[between], slope(x, y)[between], rtol=1e-5)


def test_outside_the_crop_there_is_no_depth_and_inside_there_is() -> None:
    resized = resize_to_source(np.full((56, 80), 2.0, np.float32), CROPPED)
    assert np.isnan(resized[:16]).all()
    assert np.isnan(resized[-16:]).all()
    np.testing.assert_array_equal(resized[16:-16], 2.0)


def test_an_edge_is_not_smeared_into_points_between_the_surfaces() -> None:
    x, y = network_grid(WHOLE)
    depth = np.where(x + 0.5 * y < 9, 1.0, 3.0).astype(np.float32)
    resized = resize_to_source(depth, WHOLE)
    assert set(np.unique(resized)) == {1.0, 3.0}
    u, v = (
        np.rint(np.clip(at, 0, top)).astype(int)
        for at, top in zip(coordinates(WHOLE), (15, 11), strict=True)
    )
    np.testing.assert_array_equal(resized, depth[v, u])


def test_the_surfaces_beside_an_edge_are_interpolated() -> None:
    x, y = network_grid(WHOLE)
    depth = slope(x, y) + np.where(x < 8, 0.0, 5.0).astype(np.float32)
    resized, (x, _) = resize_to_source(depth, WHOLE), coordinates(WHOLE)
    row = resized[24, (x[24] > 1) & (x[24] < 6)]
    assert (np.diff(row) > 0).all()


@pytest.mark.parametrize("hole", [np.nan, np.inf, -1.0, 0.0])
def test_a_hole_keeps_its_size(hole: float) -> None:
    depth = np.full((12, 16), 2.0, np.float32)
    depth[5, 7] = hole
    resized = resize_to_source(depth, WHOLE)
    expected = np.full((48, 64), 2.0, np.float32)
    expected[20:24, 28:32] = hole
    np.testing.assert_array_equal(resized, expected)


def test_an_image_of_one_row_is_resized_as_well() -> None:
    geometry = ImageGeometry(8, 4, 4, 1, 0, 0, 4, 1)
    resized = resize_to_source(np.array([[1.0, 1.0, 3.0, 3.0]], np.float32), geometry)
    np.testing.assert_array_equal(resized, [[1.0] * 4 + [3.0] * 4] * 4)


def test_millimeters_are_rounded_and_nought_where_there_is_no_depth() -> None:
    depth = np.array([[1.2344, 1.2346, 0.001], [65.535, 65.54, 1e9], [np.nan, np.inf, -1.0]], np.float32)
    millimeters = depth_to_mm(depth)
    assert millimeters.dtype == np.uint16
    np.testing.assert_array_equal(millimeters, [[1234, 1235, 1], [65535, 0, 0], [0, 0, 0]])


def raw(
    values: np.ndarray, encoding: str, *, big_endian: bool = False, padding: int = 0, **changed: int
) -> RawImage:
    """Return an image (H, W) of 4-byte floats or 2-byte integers as another node would send it."""
    kind = ("f4", "u2")[encoding != "32FC1"]
    rows = np.ascontiguousarray(values.astype((">" if big_endian else "<") + kind)).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    sizes = {"width": values.shape[1], "height": values.shape[0], "step": rows.shape[1]} | changed
    return RawImage(encoding=encoding, big_endian=big_endian, data=rows.ravel(), **sizes)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 6])
def test_measured_meters_are_read_as_they_are(*, big_endian: bool, padding: int) -> None:
    meters = np.array([[0.5, np.nan, 1.25], [65.0, 0.0, np.inf]], np.float32)
    depth = decode_depth(raw(meters, "32FC1", big_endian=big_endian, padding=padding))
    assert depth.dtype == np.float32
    assert depth.dtype.isnative
    np.testing.assert_array_equal(depth, meters)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_measured_millimeters_become_meters_and_nought_is_unknown(
    encoding: str, *, big_endian: bool
) -> None:
    millimeters = np.array([[0, 1, 1500], [65535, 0, 258]])
    depth = decode_depth(raw(millimeters, encoding, big_endian=big_endian, padding=2))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, [[np.nan, 0.001, 1.5], [65.535, np.nan, 0.258]], rtol=1e-6)


@pytest.mark.parametrize("changed", [{"step": 11}, {"height": 3}, {"width": 0}, {"height": 0}])
def test_measured_depth_whose_size_and_data_disagree_is_refused(changed: dict[str, int]) -> None:
    image = raw(np.ones((2, 3)), "32FC1", **changed)
    with pytest.raises(ImageError, match=rf"'32FC1'.*{image.width}x{image.height}.*expected"):
        decode_depth(image)


def test_a_color_image_is_no_depth() -> None:
    with pytest.raises(ImageError, match="encoding 'rgb8' of a depth image; expected 32FC1 or 16UC1"):
        decode_depth(raw(np.ones((2, 3)), "rgb8"))


def test_depth_does_not_change_with_the_message_that_it_came_in() -> None:
    image = raw(np.ones((2, 3)), "32FC1")
    depth = decode_depth(image)
    image.data[:] = 0
    np.testing.assert_array_equal(depth, 1.0)
