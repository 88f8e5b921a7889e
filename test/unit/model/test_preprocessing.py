# SPDX-License-Identifier: Apache-2.0
"""From a camera image of any size to the network's image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ttt3r_ros.errors import ImageError
from ttt3r_ros.model.runtime.preprocessing import InputSize, normalize_image, resize_and_crop
from ttt3r_ros.types import Intrinsics

NETWORK_512 = InputSize(512)
NETWORK_224 = InputSize(224, square=True)


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ((640, 480), (512, 384)),
        ((1920, 1080), (512, 288)),
        ((1242, 375), (512, 144)),
        ((1024, 436), (512, 208)),
        ((1296, 968), (512, 368)),
        ((752, 480), (512, 320)),
        ((848, 480), (512, 288)),
        ((480, 640), (384, 512)),
        ((512, 512), (512, 384)),
    ],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
def test_the_512_network_sees_these_sizes(source: tuple[int, int], network: tuple[int, int]) -> None:
    geometry = NETWORK_512.geometry(*source)
    assert (geometry.width, geometry.height) == network
    rgb = np.zeros((source[1], source[0], 3), np.uint8)
    assert resize_and_crop(rgb, geometry).shape == (network[1], network[0], 3)


@pytest.mark.parametrize("source", [(640, 480), (480, 640), (1920, 1080), (224, 224), (300, 200)])
def test_the_224_network_sees_squares(source: tuple[int, int]) -> None:
    geometry = NETWORK_224.geometry(*source)
    assert (geometry.width, geometry.height) == (224, 224)
    assert min(geometry.resized_width, geometry.resized_height) == 224


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([128, 224, 512]))
def test_the_crop_is_whole_patches_inside_and_in_the_middle_of_the_resized_image(
    width: int, height: int, long_edge: int
) -> None:
    size = InputSize(long_edge)
    if round(min(width, height) * long_edge / max(width, height)) < 16:
        with pytest.raises(ImageError, match=f"image {width}x{height} is too narrow"):
            size.geometry(width, height)
        return
    geometry = size.geometry(width, height)
    assert geometry.width % 16 == geometry.height % 16 == 0
    assert max(geometry.resized_width, geometry.resized_height) == long_edge
    right = geometry.resized_width - geometry.left - geometry.width
    below = geometry.resized_height - geometry.top - geometry.height
    assert min(geometry.left, geometry.top, right, below) >= 0
    assert abs(geometry.left - right) <= 1
    assert abs(geometry.top - below) <= 1


@pytest.mark.parametrize("source", [(2000, 50), (50, 2000), (4000, 1)])
def test_an_image_without_one_patch_is_too_narrow(source: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=rf"image {source[0]}x{source[1]} is too narrow: at 512 px"):
        NETWORK_512.geometry(*source)


@pytest.mark.parametrize("source", [(0, 480), (640, 0), (0, 0)])
def test_an_image_without_pixels_is_refused_with_its_size(source: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=rf"image is {source[0]}x{source[1]}"):
        NETWORK_512.geometry(*source)


@pytest.mark.parametrize("source", [(640, 480), (1242, 375), (480, 640), (200, 150)])
def test_a_spot_is_projected_by_the_intrinsics(source: tuple[int, int]) -> None:
    width, height = source
    u, v = 0.53 * width, 0.45 * height
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    spot = 250 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * (0.02 * width) ** 2))
    geometry = NETWORK_512.geometry(width, height)
    seen = resize_and_crop(np.repeat(np.rint(spot)[..., None], 3, axis=2).astype(np.uint8), geometry)
    weight = np.where(seen[..., 0] > 5, seen[..., 0], 0).astype(float)
    rows, columns = np.mgrid[0 : geometry.height, 0 : geometry.width]
    camera = geometry.to_network(Intrinsics(100.0, 100.0, u, v, width, height))
    found = ((columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum())
    assert found == pytest.approx((camera.cx, camera.cy), abs=0.05)


def test_an_image_of_the_network_s_size_passes_unchanged() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, size=(384, 512, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_and_crop(rgb, NETWORK_512.geometry(512, 384)), rgb)


def test_normalized_values_run_from_minus_one_to_one_with_channels_first() -> None:
    rgb = np.zeros((2, 3, 3), np.uint8)
    rgb[0, 1] = (255, 51, 0)
    tensor = normalize_image(rgb)
    assert tensor.shape == (1, 3, 2, 3)
    assert tensor.dtype == torch.float32
    torch.testing.assert_close(tensor[0, :, 0, 1], torch.tensor([1.0, -0.6, -1.0]))
    assert float(tensor[0, :, 1].max()) == -1.0


def test_a_size_describes_itself() -> None:
    assert (str(NETWORK_512), str(NETWORK_224)) == ("512 px", "224 px, square")
