# SPDX-License-Identifier: Apache-2.0
"""Smoothing the heads takes the noise between pixels and leaves every plane as it is."""

from __future__ import annotations

import torch

from training.curriculum import network
from training.smoothing import smoothed_heads

PATCH = 16
CONFIG = network(64, 1, 2, patch=PATCH, size=(32, 48), state=16)
NAME = "downstream_head.proj.fc2.bias"


def test_planes_stay_and_noise_goes():
    v, u = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    planes = torch.stack(
        [a + b * u + c * v for a, b, c in ((1, 0.1, 0), (2, 0, -0.2), (0, 1, 1), (3, 0, 0))]
    )
    noise = 0.1 * torch.randn(planes.shape, generator=torch.Generator().manual_seed(0))
    kept = {"other": noise}
    smooth = smoothed_heads({NAME: planes.flatten(), **kept}, CONFIG, 4)
    torch.testing.assert_close(smooth[NAME], planes.flatten())
    assert smooth["other"] is noise
    rough = smoothed_heads({NAME: (planes + noise).flatten()}, CONFIG, 4)[NAME]
    assert (rough - planes.flatten()).std() < 0.4 * noise.std()


def test_a_loss_that_saw_every_pixel_leaves_the_heads_alone():
    tensors = {NAME: torch.randn(4 * PATCH * PATCH)}
    assert smoothed_heads(tensors, CONFIG, 1) is tensors
