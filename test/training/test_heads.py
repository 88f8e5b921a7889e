# SPDX-License-Identifier: Apache-2.0
"""Fitting the camera head alone makes points and confidence better, and leaves everything else as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from training.curriculum import PLANS
from training.heads import Examples, fitted, main, seen_by
from ttt3r_ros.errors import CheckpointError
from ttt3r_ros.model.checkpoint import load_checkpoint, save_checkpoint
from ttt3r_ros.model.weights import load_network, seeded_network

TINY = PLANS["tiny"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("heads") / "before.safetensors"
    save_checkpoint(path, seeded_network(TINY.network).state_dict(), TINY.network, 12)
    return path


def test_the_loss_falls_and_other_tensors_stay(weights, tmp_path, capsys):
    words = [weights, tmp_path / "after.safetensors", "--plan", "tiny", "--clips", 4, "--rounds", 600]
    assert main([str(word) for word in [*words, "--examples", tmp_path / "examples.pt"]]) == 0
    told = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines() if "loss" in line]
    assert told[-1] < told[0] - 0.02
    before, after = (load_checkpoint(path).tensors for path in (weights, tmp_path / "after.safetensors"))
    changed = {name for name in before if not torch.equal(before[name].float(), after[name].float())}
    assert changed == {
        f"downstream_head.proj.fc{layer}.{kind}" for layer in (1, 2) for kind in ("weight", "bias")
    }
    assert load_checkpoint(tmp_path / "after.safetensors").reset_interval == 12
    examples = Examples(**torch.load(tmp_path / "examples.pt"))
    assert len(examples) == 4 * TINY.recipe.frames


def test_examples_are_what_the_head_reads_in_a_stream(weights):
    network = load_network(weights).network
    examples = seen_by(network, TINY, 2, seed=5)
    assert examples.tokens.shape == (2 * TINY.recipe.frames, 12, TINY.network.dec_embed_dim)
    size = (TINY.recipe.height, TINY.recipe.width)
    assert examples.depth.shape[1:] == size
    scale = examples.scale.unflatten(0, (2, -1))
    assert torch.equal(scale, scale[:, :1].expand_as(scale)), "one for a clip"
    assert (scale[:, 0] > examples.depth.float().unflatten(0, (2, -1)).mean(dim=(1, 2, 3))).all()


def test_confidence_learns_where_the_head_errs(weights):
    """Half of the frames have tokens that tell nothing of their depth."""
    network = load_network(weights).network
    examples = seen_by(network, TINY, 8, seed=6)
    unknown = torch.arange(len(examples)) % 2 == 0
    rng = torch.Generator().manual_seed(0)
    marked = torch.where(unknown[:, None, None], torch.ones_like(examples.tokens), examples.tokens)
    noise = torch.exp(torch.randn(len(examples), 1, 1, generator=rng))
    depth = torch.where(unknown[:, None, None], examples.depth * noise, examples.depth.mean().float())
    fitted(network, replace(examples, tokens=marked, depth=depth.half()), rounds=150, rate=3e-3)
    heads = network.downstream_head
    grid = (TINY.recipe.height // 8, TINY.recipe.width // 8)
    confidence = heads.point_map(heads.camera_map((marked.float(),), grid)).confidence
    assert confidence[~unknown].median() > 2 * confidence[unknown].median()


def test_heads_of_another_kind_are_refused():
    network = seeded_network(replace(TINY.network, head_type="dpt"))
    with pytest.raises(CheckpointError, match="head_type is 'dpt'"):
        fitted(network, Examples(*(torch.zeros(1) for _ in range(4))), 1)
