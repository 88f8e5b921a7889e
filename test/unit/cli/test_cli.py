# SPDX-License-Identifier: Apache-2.0
"""The command line as its users meet it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from small_networks import LINEAR

from ttt3r_ros import __version__
from ttt3r_ros.cli.main import main
from ttt3r_ros.config import parameters_yaml
from ttt3r_ros.model.checkpoints.checkpoint import load_checkpoint
from ttt3r_ros.model.checkpoints.networks import load_network, seeded_network
from ttt3r_ros.model.network.view import View

if TYPE_CHECKING:
    from pathlib import Path

MODEL_STRING = (
    "ARCroco3DStereo(ARCroco3DStereoConfig(state_size=20, state_pe='2d', pos_embed='RoPE100', rgb_head=True, "
    "pose_head=True, img_size=(64, 64), head_type='linear', output_mode='pts3d+pose', depth_mode=('exp', -inf, inf), "
    "conf_mode=('exp', 1, inf), pose_mode=('exp', -inf, inf), enc_embed_dim=64, enc_depth=2, enc_num_heads=4, "
    "dec_embed_dim=48, dec_depth=4, dec_num_heads=4, state_dec_num_heads=2, local_mem_size=8, landscape_only=False))"
)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A checkpoint of the published kind, with the surplus tensors that such files carry."""
    network = seeded_network(LINEAR, seed=5)
    tensors = {
        **network.state_dict(),
        "masked_img_token": torch.zeros(1, 64),
        "mask_token": torch.zeros(1, 1, 48),
    }
    path = tmp_path / "published.pth"
    torch.save({"model": tensors, "args": argparse.Namespace(model=MODEL_STRING), "epoch": 3}, path)
    return path


def test_a_converted_checkpoint_gives_the_same_answers(published, tmp_path, capsys):
    target = tmp_path / "converted.safetensors"
    assert main(["convert", str(published), str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    answers = []
    for path in (published, target):
        network = load_network(path).network
        output, _ = network.step(
            View(torch.linspace(-1, 1, 3 * 48 * 64).view(1, 3, 48, 64)), network.initial_state()
        )
        answers.append(output.camera.points)
    assert torch.equal(*answers)
    assert torch.equal(answers[0], reference_answer())


def reference_answer() -> torch.Tensor:
    network = seeded_network(LINEAR, seed=5)
    view = View(torch.linspace(-1, 1, 3 * 48 * 64).view(1, 3, 48, 64))
    return network.step(view, network.initial_state())[0].camera.points


def test_converting_a_missing_file_prints_one_line(tmp_path, capsys):
    assert main(["convert", str(tmp_path / "absent.pth"), str(tmp_path / "out.safetensors")]) == 1
    assert "absent.pth" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("place", ["file/out.safetensors", "folder.safetensors", "out.pth"])
def test_converting_into_an_unwritable_place_is_one_readable_line(published, tmp_path, capsys, place):
    (tmp_path / "file").touch()
    (tmp_path / "folder.safetensors").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert main(["convert", str(published), str(tmp_path / place)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"ttt3r_ros: cannot write {tmp_path / place}: ")
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def damaged(tensors, damage):
    if damage == "missing":
        del tensors["pose_retriever.mem"]
    elif damage == "unexpected":
        tensors["stray"] = torch.ones(1)
    elif damage == "of another shape":
        tensors["enc_norm.bias"] = torch.ones(63)
    elif damage == "NaN":
        tensors["pose_retriever.mem"][0, 1, 5] = float("nan")
    elif damage == "half a branch":
        del tensors["enc_norm_ray_map.bias"]
    return tensors


@pytest.mark.parametrize("damage", ["missing", "unexpected", "of another shape", "NaN", "half a branch"])
@pytest.mark.parametrize("exists", [False, True])
def test_weights_that_do_not_fit_the_network_are_not_written(
    published, tmp_path, capsys, damage, exists
):
    content = torch.load(published, weights_only=False)
    content["model"] = damaged(content["model"], damage)
    torch.save(content, published)
    target = tmp_path / "out.safetensors"
    if exists:
        target.write_bytes(b"the last good one")
    assert main(["convert", str(published), str(target)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"ttt3r_ros: {published}: ")
    assert {"half a branch": "1 missing: enc_norm_ray_map.bias"}.get(damage, damage) in error
    assert sorted(tmp_path.iterdir()) == sorted([published, *([target] if exists else [])])
    assert not exists or target.read_bytes() == b"the last good one"


@pytest.mark.parametrize("branch", ["ray_map", "rgb_proj"])
def test_weights_without_an_optional_branch_are_converted(published, tmp_path, branch):
    content = torch.load(published, weights_only=False)
    content["model"] = {name: t for name, t in content["model"].items() if branch not in name}
    torch.save(content, published)
    target = tmp_path / "new" / "out.safetensors"
    assert main(["convert", str(published), str(target)]) == 0
    assert load_checkpoint(target).tensors.keys() == load_checkpoint(published).tensors.keys()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_the_umask_gives_the_permissions_of_a_converted_checkpoint(published, tmp_path, umask, mode):
    target = tmp_path / "out.safetensors"
    before = os.umask(umask)
    try:
        assert main(["convert", str(published), str(target)]) == 0
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == mode


def test_a_checkpoint_may_be_converted_onto_itself(published, tmp_path):
    target = tmp_path / "out.safetensors"
    assert main(["convert", str(published), str(target)]) == 0
    first = load_checkpoint(target)
    assert main(["convert", str(target), str(target)]) == 0
    second = load_checkpoint(target)
    assert second.config == first.config
    assert second.tensors.keys() == first.tensors.keys()
    assert all(torch.equal(second.tensors[name], tensor) for name, tensor in first.tensors.items())


def test_params_prints_the_parameter_file(capsys):
    assert main(["params"]) == 0
    assert capsys.readouterr().out == parameters_yaml()


def test_the_module_runs_as_the_command():
    finished = subprocess.run(
        [sys.executable, "-m", "ttt3r_ros", "--version"], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == __version__


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["demo", "--images", "a", "--video", "b"]])
def test_wrong_usage_is_reported_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "text", "message"),
    [
        (["run", "walk", "--output", "out"], "0", "0 is not a frequency above 0 and up to 1000 Hz"),
        (["run", "walk", "--output", "out"], "1e4", "1e4 is not a frequency above 0 and up to 1000 Hz"),
        (["run", "walk", "--output", "out"], "fast", "invalid frequency value: 'fast'"),
        (["demo"], "-1", "-1 is not a frequency from 0 up to 1000 Hz"),
        (["demo"], "nan", "nan is not a frequency from 0 up to 1000 Hz"),
        (["demo"], "fast", "invalid frequency value: 'fast'"),
    ],
)
def test_an_invalid_frequency_is_one_line_for_every_command(command, text, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--fps", text])
    assert stopped.value.code == 2
    assert f"argument --fps: {message}" in capsys.readouterr().err.splitlines()[-1]
