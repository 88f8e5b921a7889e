# SPDX-License-Identifier: Apache-2.0
"""Resize, crop and normalize camera images for the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from ttt3r_ros.errors import ImageError
from ttt3r_ros.types import ImageGeometry, UInt8Array

if TYPE_CHECKING:
    from ttt3r_ros.model.network.config import NetworkConfig

_SQUARE_SIZE = (224, 224)  # the published network of this size was trained on square crops
_FILTERS: Any = getattr(Image, "Resampling", Image)  # Pillow before 9.1 has them in the module


@dataclass(frozen=True)
class InputSize:
    """Image size that a network was trained for."""

    long_edge: int
    square: bool = False  # the 224 pixel network: crop to a square whose side is the short edge
    patch: int = 16

    @classmethod
    def of(cls, config: NetworkConfig, long_edge: int = 0) -> InputSize:
        """Return the image size of a network; ``long_edge`` [px] overrides its own."""
        return cls(
            long_edge=long_edge or max(config.img_size),
            square=tuple(config.img_size) == _SQUARE_SIZE and long_edge in (0, max(_SQUARE_SIZE)),
            patch=config.patch_size,
        )

    def __str__(self) -> str:
        return f"{self.long_edge} px" + (", square" if self.square else "")

    def geometry(self, width: int, height: int) -> ImageGeometry:
        """Compute resize and center crop of a source image.

        Raises:
            ImageError: the cropped image would be empty.
        """
        if min(width, height) < 1:
            msg = f"image is {width}x{height}; both sides must be positive"
            raise ImageError(msg)
        long_edge = self.long_edge
        if self.square:
            long_edge = round(self.long_edge * max(width / height, height / width))
        scale = long_edge / max(width, height)
        resized_width, resized_height = round(width * scale), round(height * scale)
        half_width, half_height = self._half_crop(resized_width, resized_height)
        if min(half_width, half_height) < 1:
            msg = f"image {width}x{height} is too narrow: at {long_edge} px it has less than one {self.patch} px patch"
            raise ImageError(msg)
        return ImageGeometry(
            source_width=width,
            source_height=height,
            resized_width=resized_width,
            resized_height=resized_height,
            left=resized_width // 2 - half_width,
            top=resized_height // 2 - half_height,
            width=2 * half_width,
            height=2 * half_height,
        )

    def _half_crop(self, width: int, height: int) -> tuple[int, int]:
        half_patch = self.patch // 2
        if self.square:
            half = min(width // 2, height // 2)
            return half, half
        half_width = (2 * (width // 2) // self.patch) * half_patch
        half_height = (2 * (height // 2) // self.patch) * half_patch
        if width == height:  # trained on 4:3 and wider, never on squares
            half_height = (3 * half_width // 4) // half_patch * half_patch
        return half_width, half_height


def resize_and_crop(rgb: UInt8Array, geometry: ImageGeometry) -> UInt8Array:
    """Resize and crop a source image (H, W, 3) to the network's image (h, w, 3).

    The published weights were trained with Pillow's antialiased filters.
    """
    shrinking = max(geometry.source_width, geometry.source_height) > max(
        geometry.resized_width, geometry.resized_height
    )
    resample = _FILTERS.LANCZOS if shrinking else _FILTERS.BICUBIC
    resized = Image.fromarray(rgb).resize((geometry.resized_width, geometry.resized_height), resample)
    left, top = geometry.left, geometry.top
    return np.asarray(resized.crop((left, top, left + geometry.width, top + geometry.height)))


def normalize_image(rgb: UInt8Array) -> torch.Tensor:
    """Return an image (h, w, 3) as the network's input (1, 3, h, w) in [-1, 1]."""
    # True division keeps the last bit equal to that of the training pipeline.
    scaled = torch.from_numpy(rgb.astype(np.float32)) / 255.0
    return ((scaled - 0.5) / 0.5).permute(2, 0, 1)[None]
