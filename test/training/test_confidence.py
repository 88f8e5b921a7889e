# SPDX-License-Identifier: Apache-2.0
"""Raising the confidence of a network changes its confidence above 1, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from training.confidence import main, raised_confidence
from training.curriculum import network
from ttt3r_ros.errors import CheckpointError
from ttt3r_ros.model.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from ttt3r_ros.model.checkpoints.networks import load_network, seeded_network
from ttt3r_ros.model.network.view import View

CONFIG = network(64, 1, 2, patch=16, size=(32, 48), state=16)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "before.safetensors"
    save_checkpoint(path, seeded_network(CONFIG).state_dict(), CONFIG, 12)
    return path


def seen_by(path):
    network = load_network(path).network
    image = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        output, _ = network.step(View(image), network.initial_state())
    return output


def test_what_exceeds_one_grows_by_the_gain_and_all_else_stays(file, tmp_path):
    assert main([str(file), str(tmp_path / "after.safetensors")]) == 0
    before, after = seen_by(file), seen_by(tmp_path / "after.safetensors")
    torch.testing.assert_close(after.camera.confidence - 1, 8 * (before.camera.confidence - 1))
    torch.testing.assert_close(after.camera.points, before.camera.points, rtol=0, atol=0)
    torch.testing.assert_close(after.pose, before.pose, rtol=0, atol=0)
    assert load_checkpoint(tmp_path / "after.safetensors").reset_interval == 12


def test_a_network_with_other_heads_is_refused():
    with pytest.raises(CheckpointError, match="head_type is 'dpt'"):
        raised_confidence({}, replace(CONFIG, head_type="dpt"))


def test_an_absent_file_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "absent.safetensors"), str(tmp_path / "out.safetensors")]) == 1
    assert "absent.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()
