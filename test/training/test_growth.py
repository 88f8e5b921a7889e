# SPDX-License-Identifier: Apache-2.0
"""A grown network does what the small one did."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from training.growth import grow
from ttt3r_ros.errors import CheckpointError
from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network, seeded_network
from ttt3r_ros.model.network.network import Ttt3r
from ttt3r_ros.model.network.view import OptionalOutputs, View


def test_larger_patches_and_more_layers_change_no_answer():
    small = load_network(PACKAGE_WEIGHTS).network
    config = replace(small.config, img_size=(64, 96))
    size = (2 * config.img_size[0], 2 * config.img_size[1])
    large_config = replace(
        config, patch_size=2 * config.patch_size, img_size=size, enc_depth=7, dec_depth=5
    )
    large = seeded_network(large_config, 0, "cut3r", ray_maps=False)
    large.load_state_dict(grow(small.state_dict(), config, large_config, large.state_dict()))
    small = _with_rule(small, "cut3r")  # the other rule's gate is the mean over layers, the new ones too
    rng = torch.Generator().manual_seed(3)
    images = torch.rand((2, 1, 3, *config.img_size), generator=rng) * 2 - 1
    states = [network.initial_state() for network in (small, large)]
    with torch.no_grad():
        for image in images:
            fine = image.repeat_interleave(2, 2).repeat_interleave(2, 3)
            expected, states[0] = small.step(View(image=image), states[0], OptionalOutputs(world=True))
            found, states[1] = large.step(View(image=fine), states[1], OptionalOutputs(world=True))
            torch.testing.assert_close(found.pose, expected.pose, rtol=1e-4, atol=1e-5)
            for ours, theirs in ((found.camera, expected.camera), (found.world, expected.world)):
                torch.testing.assert_close(
                    ours.points[:, ::2, 1::2], theirs.points, rtol=1e-3, atol=1e-4
                )
                torch.testing.assert_close(
                    ours.confidence[:, 1::2, ::2], theirs.confidence, rtol=1e-3, atol=1e-4
                )


def _with_rule(network: Ttt3r, rule: str) -> Ttt3r:
    other = Ttt3r(network.config, rule, ray_maps=False).eval()
    other.load_state_dict(network.state_dict())
    return other


def test_a_network_that_is_no_extension_is_refused():
    network = load_network(PACKAGE_WEIGHTS).network
    tensors, config = network.state_dict(), network.config
    for change in ({"dec_depth": 2}, {"patch_size": 24}, {"state_size": 100}):
        with pytest.raises(CheckpointError, match="cannot grow into"):
            grow(tensors, config, replace(config, **change), tensors)
