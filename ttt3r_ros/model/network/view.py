# SPDX-License-Identifier: Apache-2.0
"""Inputs and outputs of a network step, as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttt3r_ros.errors import ImageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class View:
    """Input of one step: an image, a ray map, or both.

    A ray map contains the origin and direction of each pixel's ray in the first camera's frame. A view without an
    image renders the scene along these rays and does not change the state.
    """

    image: Tensor | None = None  # (B, 3, H, W) in [-1, 1]
    ray_map: Tensor | None = None  # (B, 6, H, W)
    update: Tensor | None = None  # (B,) bool: update the state; None: all

    def source(self) -> Tensor:
        """Return a tensor with the batch, size and device of the view.

        Raises:
            ImageError: image and ray map are both missing or differ in size.
        """
        given = [tensor for tensor in (self.image, self.ray_map) if tensor is not None]
        if not given:
            msg = "the view has neither image nor ray map; expected at least one"
            raise ImageError(msg)
        first, last = given[0], given[-1]
        if (first.shape[0], *first.shape[2:]) != (last.shape[0], *last.shape[2:]):
            msg = f"image {tuple(first.shape)} and ray map {tuple(last.shape)} differ in batch or size"
            raise ImageError(msg)
        return first


@dataclass(frozen=True)
class OptionalOutputs:
    """Optional heads to run; disabled heads are not computed."""

    world: bool = False  # points in the first camera's frame
    rgb: bool = False


@dataclass(frozen=True)
class PointMap:
    """One 3D point and its confidence per pixel."""

    points: Tensor  # (B, H, W, 3) meters
    confidence: Tensor  # (B, H, W)


@dataclass(frozen=True)
class Internals:
    """Intermediate values of a step, for parity checks and the study of update rules."""

    features: Tensor  # (B, N, F) encoder output
    pose_token: Tensor  # (B, 1, C) input of the decoder
    decoder_layers: tuple[Tensor, Tensor, Tensor]  # (B, 1 + N, C) at half, three quarters, the end
    gate_logit: Tensor  # (B, S)
    proposed_tokens: Tensor  # (B, S, C)
    proposed_memory: Tensor  # (B, M, 2C)


@dataclass(frozen=True)
class StepOutput:
    """Output of one step."""

    camera: PointMap  # in the camera's own optical frame
    pose: Tensor  # (B, 7) T_first_camera: x, y, z, then the unit quaternion w, x, y, z
    world: PointMap | None  # in the first camera's frame
    rgb: Tensor | None  # (B, H, W, 3) in (-1, 1)
    internals: Internals


def patch_grid(tensor: torch.Tensor, patch: int) -> tuple[int, int]:
    """Return rows and columns of patches of (B, channels, H, W).

    Raises:
        ImageError: a side is not a positive multiple of the patch size.
    """
    height, width = map(int, tensor.shape[-2:])  # plain numbers even while tracing
    if height < patch or width < patch or height % patch or width % patch:
        msg = f"network image is {width}x{height}; both sides must be positive multiples of {patch}"
        raise ImageError(msg)
    return height // patch, width // patch
