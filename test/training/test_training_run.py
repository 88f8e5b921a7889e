# SPDX-License-Identifier: Apache-2.0
"""A run learns, goes on after a break as if there had been none, and ends as a file that the package loads."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

from training import export, train
from training.checkpoints import read_log
from training.curriculum import PLANS, Plan, Stage
from training.initialisation import initial_network
from training.rollout import unroll
from training.trainer import Trainer, typical_patches
from training.views import Views, draw_views, prepare
from ttt3r_ros.errors import CheckpointError
from ttt3r_ros.model.update_rules import update_rule
from ttt3r_ros.model.view import View
from ttt3r_ros.model.weights import load_network

TINY = PLANS["tiny"]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)  # small matrices gain nothing from more


def test_the_loss_falls(tmp_path):
    trainer = Trainer(TINY, tmp_path, "cpu")
    while trainer.now < 120:
        trainer.step()
        if trainer.now % 20 == 0:
            trainer.log(0.0)
    rows = read_log(tmp_path)
    assert [row["step"] for row in rows] == [20, 40, 60, 80, 100, 120]
    assert rows[-1]["abs_rel"] < 0.8 * rows[0]["abs_rel"]
    assert rows[2]["camera"] < 0.8 * rows[0]["camera"]


def test_a_run_that_broke_off_goes_on_as_if_it_had_not(tmp_path):
    whole, first = Trainer(TINY, tmp_path / "whole", "cpu"), Trainer(TINY, tmp_path / "broken", "cpu")
    for _ in range(70):  # into the second stage, with new clips rendered and old ones gone
        whole.step()
    for _ in range(40):
        first.step()
    first.save()
    second = Trainer(TINY, tmp_path / "broken", "cpu")
    assert second.now == 40
    for _ in range(30):
        second.step()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
        assert torch.equal(whole.average[name], second.average[name]), name


def test_slices_add_up_to_a_file_that_the_package_loads(tmp_path, capsys):
    run, target = tmp_path / "run", tmp_path / "weights.safetensors"
    for _ in range(2):
        assert (
            train.main(["--plan", "tiny", "--run", str(run), "--minutes", "0.03", "--device", "cpu"])
            == 0
        )
    assert export.main([str(run), str(target), "--pieces", str(tmp_path / "pieces")]) == 0
    joined = b"".join(piece.read_bytes() for piece in sorted((tmp_path / "pieces").iterdir()))
    assert joined == target.read_bytes()
    assert hashlib.sha256(joined).hexdigest() in capsys.readouterr().out
    loaded = load_network(target)
    assert loaded.network.config == TINY.network
    assert loaded.reset_interval == TINY.reset_interval


def test_a_checkpoint_of_another_plan_is_refused(tmp_path):
    Trainer(TINY, tmp_path, "cpu").save()
    with pytest.raises(CheckpointError, match="another plan"):
        Trainer(replace(TINY, learning_rate=0.5), tmp_path, "cpu")


def test_a_file_is_cut_into_pieces_of_sixteen_mebibytes(tmp_path):
    data = bytes(range(256)) * (140 * 1024)
    pieces = export.write_pieces(data, tmp_path)
    assert [piece.stat().st_size for piece in pieces] == [2**24, 2**24, len(data) - 2**25]


def test_a_plan_whose_stages_are_out_of_order_is_refused():
    with pytest.raises(ValueError, match="must end in order"):
        replace(TINY, stages=(Stage(0.5, 1), Stage(0.4, 2), Stage(1.0, 4)))


@pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))
def test_a_plan_shows_its_stages_in_order_and_lets_the_rate_rise_and_fall(plan: Plan):
    views = [plan.stage(step).views for step in range(plan.steps)]
    assert views == sorted(views)
    rates = [plan.learning_rate_at(step) for step in range(plan.steps)]
    assert max(rates) <= plan.learning_rate
    assert rates[0] < max(rates)
    assert rates[-1] < 0.05 * plan.learning_rate
    assert all(plan.frames_per_step // plan.processes % stage.views == 0 for stage in plan.stages)


def test_unrolling_is_streaming(clips):
    """What is trained is what runs: view by view, with a reset, to the last bits."""
    network = initial_network(replace(PLANS["cpu"].network, enc_depth=2, dec_depth=2), 0).eval()
    network.rule = update_rule("ttt3r")
    picked = clips.pick(torch.arange(3), torch.arange(4).expand(3, 4))
    resets = torch.tensor(
        [[True, False, False, False], [True, False, True, False], [True, True, False, False]]
    )
    views = prepare(picked, resets)
    with torch.no_grad():
        answers = unroll(network, views)
        for clip in range(3):
            for index in range(4):
                if resets[clip, index]:
                    state = network.initial_state()
                view = View(image=views.images[clip : clip + 1, index])
                output, state = network.step(view, state)
                torch.testing.assert_close(
                    output.pose, answers.pose[clip : clip + 1, index], rtol=1e-4, atol=1e-5
                )
                torch.testing.assert_close(
                    output.camera.points,
                    answers.camera.points[clip : clip + 1, index],
                    rtol=1e-4,
                    atol=1e-4,
                )


def test_before_any_training_attention_already_tells_how_the_camera_turned(clips, bank):
    plan = replace(
        PLANS["cpu"], recipe=replace(PLANS["cpu"].recipe, frames=4, smooth=False, shadows=False)
    )
    network = initial_network(plan.network, 0, typical_patches(plan, bank))
    views = draw_views(clips, torch.Generator().manual_seed(1), 192, 2, span=0.4)
    moved = _mean_displacement(network, views)
    T = views.truth.T_first_camera[:, 1]
    yaw = (T[:, 0, 2] - T[:, 2, 0]) / 2
    correlation = torch.corrcoef(torch.stack((moved, yaw)))[0, 1].abs()
    assert correlation > 0.35


def _mean_displacement(network: torch.nn.Module, views: Views) -> torch.Tensor:
    """Return by how many columns the first layer finds the image tokens of view 1 displaced in view 0."""
    seen: list[torch.Tensor] = []
    cross = network.dec_blocks[0].cross_attn
    handle = cross.register_forward_hook(lambda _module, _inputs, output: seen.append(output[0]))
    with torch.no_grad():
        unroll(network, views, world=False)
    handle.remove()
    quarter = network.config.dec_embed_dim // 4
    tokens = seen[1][:, 1:]
    return (tokens[..., quarter + 1] - tokens[..., 1]).mean(dim=1)
