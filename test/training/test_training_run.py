# SPDX-License-Identifier: Apache-2.0
"""A run learns, goes on after a break as if there had been none, and ends as a file that the package loads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training import export, train
from training.checkpoints import LOG, read_log, read_progress
from training.curriculum import PLANS, Plan, Stage
from training.initialization import initial_network
from training.rollout import SparseHeads, unroll
from training.trainer import Trainer, typical_patches
from training.views import Pixels, Views, draw, prepare
from ttt3r_ros.errors import CheckpointError
from ttt3r_ros.model.checkpoints.networks import load_network
from ttt3r_ros.model.network.update_rules import update_rule
from ttt3r_ros.model.network.view import View

TINY = PLANS["tiny"]
QUICK = replace(TINY, recipe=replace(TINY.recipe, smooth=False))  # one ray for each pixel


@pytest.mark.slow
def test_the_loss_falls(tmp_path):
    trainer = Trainer(QUICK, tmp_path, "cpu")
    while trainer.now < 80:
        trainer.step()
        if trainer.now % 20 == 0:
            trainer.log(0.0)
    rows = read_log(tmp_path / LOG)
    assert [row["step"] for row in rows] == [20, 40, 60, 80]
    assert rows[-1]["abs_rel"] < 0.8 * rows[0]["abs_rel"]
    assert rows[2]["camera"] < 0.8 * rows[0]["camera"]


@pytest.mark.slow
def test_a_run_that_broke_off_goes_on_as_if_it_had_not(tmp_path):
    plan = replace(QUICK, batches_kept=6)
    whole, first = Trainer(plan, tmp_path / "whole", "cpu"), Trainer(plan, tmp_path / "broken", "cpu")
    assert plan.batches_at(12).start > 0, "old clips are gone by then"
    for _ in range(18):
        whole.step()
    for _ in range(12):
        first.step()
    first.save()
    second = Trainer(plan, tmp_path / "broken", "cpu")
    assert second.now == 12
    for _ in range(6):
        second.step()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
        assert torch.equal(whole.average[name], second.average[name]), name


def test_slices_add_up_to_a_file_that_the_package_loads(tmp_path, capsys):
    run, target = tmp_path / "run", tmp_path / "weights.safetensors"
    for _ in range(2):
        assert (
            train.main(["--plan", "tiny", "--run", str(run), "--minutes", "0.01", "--device", "cpu"])
            == 0
        )
    assert export.main([str(run), str(target), "--pieces", str(tmp_path / "pieces")]) == 0
    joined = b"".join(piece.read_bytes() for piece in sorted((tmp_path / "pieces").iterdir()))
    assert joined == target.read_bytes()
    assert hashlib.sha256(joined).hexdigest()[:12] in capsys.readouterr().out
    loaded = load_network(target)
    assert loaded.network.config == TINY.network
    assert loaded.reset_interval == TINY.reset_interval

    goes_on = Trainer(TINY, tmp_path / "other", "cpu", start=target)
    given = load_network(target).network.state_dict()
    assert all(torch.equal(value, goes_on.average[name]) for name, value in given.items())
    with pytest.raises(CheckpointError, match="cannot grow into"):
        Trainer(
            replace(TINY, network=PLANS["cpu"].network, recipe=PLANS["cpu"].recipe),
            tmp_path / "n",
            "cpu",
            start=target,
        )


def test_a_checkpoint_of_another_plan_is_refused(tmp_path):
    Trainer(TINY, tmp_path, "cpu").save()
    with pytest.raises(CheckpointError, match="another plan"):
        Trainer(replace(TINY, learning_rate=0.5), tmp_path, "cpu")


def test_a_file_is_cut_into_pieces_of_sixteen_mebibytes(tmp_path):
    data = bytes(range(256)) * (140 * 1024)
    pieces = export.write_pieces(data, tmp_path)
    assert [piece.stat().st_size for piece in pieces] == [2**24, 2**24, len(data) - 2**25]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": (Stage(0.5, 1, 8), Stage(0.4, 2, 8), Stage(1.0, 4, 8))}, "must end in order"),
        ({"stages": (Stage(1.0, 6, 8),)}, "6 views; expected at most the 4 frames"),
        ({"stages": (Stage(1.0, 2, 9),), "processes": 2}, "is 9; expected a multiple of 2 processes"),
        ({"pixel_step": 3}, "pixel_step is 3; expected a divisor of the patch size 8"),
        ({"crops": ((20, 32),)}, "expected multiples of 8"),
    ],
)
def test_a_plan_that_cannot_run_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


@pytest.mark.slow
def test_two_processes_train_as_one_on_both_their_views(tmp_path):
    """The mean of two halves' gradients moves both to the same weights; only the first one writes."""
    script = tmp_path / "two.py"  # a file, because the processes that are spawned import it
    script.write_text(TWO_PROCESSES)
    command = [sys.executable, str(script), str(tmp_path)]
    finished = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    progress = read_progress(tmp_path / "run")
    assert progress.step > 2
    shares = [torch.load(tmp_path / f"share_{rank}.pt") for rank in range(2)]
    torch.testing.assert_close(shares[0], shares[1], rtol=0, atol=0)
    torch.testing.assert_close(shares[0], torch.full((3,), 1.5))


ROOT = Path(__file__).resolve().parents[2]
TWO_PROCESSES = """
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from training import train
from training.curriculum import PLANS
from training.step import average_gradient
from training.trainer import agreed

folder = Path(sys.argv[1])
both_train = train._process


def share_then_train(rank, *arguments):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    mean = average_gradient(torch.full((3,), 1.0 + rank), 2)
    assert agreed(rank == 0, 2) and not agreed(rank == 1, 2)
    torch.save(mean, f"{folder}/share_{rank}.pt")
    dist.destroy_process_group()
    both_train(rank, *arguments)


if __name__ == "__main__":
    train.PLANS["tiny"] = replace(PLANS["tiny"], processes=2)
    train._process = share_then_train  # in the processes that train.main starts
    sys.exit(train.main(["--plan", "tiny", "--run", str(folder / "run"), "--minutes", "0.25", "--device", "cpu"]))
"""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_step_on_a_gpu(tmp_path):
    trainer = Trainer(
        replace(PLANS["gpu"], per_material=1, clips_per_batch=4, first_batches=2), tmp_path, "cuda"
    )
    trainer.step()
    assert trainer.now == 1


def test_a_file_that_is_no_checkpoint_is_named(tmp_path, capsys):
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
    assert export.main([str(tmp_path), str(tmp_path / "out.safetensors")]) == 1
    assert "is not the checkpoint of a training run" in capsys.readouterr().err
    assert export.main([str(tmp_path), str(tmp_path / "out.pth")]) == 1
    assert "expected a name that ends with .safetensors" in capsys.readouterr().err


def test_a_log_becomes_a_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    from training import plots

    trainer = Trainer(TINY, tmp_path, "cpu")
    for _ in range(3):
        trainer.step()
        trainer.log(1.0)
    assert (
        plots.main([str(tmp_path), str(tmp_path / "log.png"), "--log", str(tmp_path / "thin.jsonl")])
        == 0
    )
    assert (tmp_path / "log.png").stat().st_size > 10_000
    assert len(read_log(tmp_path / "thin.jsonl")) == 3
    assert plots.main([str(tmp_path / "absent"), str(tmp_path / "log.png")]) == 1
    assert "is not the log of a training run" in capsys.readouterr().err


def test_the_loss_may_look_at_every_second_pixel(clips):
    network = initial_network(PLANS["cpu"].network, 0)
    picked = clips.pick(torch.arange(2), torch.arange(2).expand(2, 2))
    offset = torch.tensor([1, 0])
    views = prepare(picked)
    few = prepare(picked, pixels=Pixels.every(2, tuple(picked.rgb.shape[-2:]), offset))
    torch.testing.assert_close(few.truth.points_world, views.truth.points_world[:, :, 1::2, ::2])
    with torch.no_grad():
        whole = unroll(network, views)
        SparseHeads.into(network, 2).offset = offset
        sparse = unroll(network, views)
    torch.testing.assert_close(sparse.camera.points, whole.camera.points[:, :, 1::2, ::2])
    torch.testing.assert_close(sparse.world.confidence, whole.world.confidence[:, :, 1::2, ::2])


@pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))
def test_a_plan_shows_its_stages_in_order_and_lets_the_rate_rise_and_fall(plan: Plan):
    views = [plan.stage(step).views for step in range(plan.steps)]
    assert views == sorted(views)
    assert plan.frames_shown(0) == 0
    assert plan.frames <= plan.frames_shown(plan.steps) < 1.02 * plan.frames
    rates = [plan.learning_rate_at(step) for step in range(plan.steps)]
    assert max(rates) <= plan.learning_rate
    assert rates[0] < max(rates)
    assert rates[-1] < 0.05 * plan.learning_rate


def test_unrolling_is_streaming(clips):
    """Training and inference agree, view by view and across state resets."""
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


def test_initial_attention_already_contains_the_rotation_of_the_camera(clips, bank):
    plan = replace(
        PLANS["cpu"],
        stages=(Stage(1.0, 2, 8),),
        recipe=replace(PLANS["cpu"].recipe, frames=4, smooth=False, shadows=False),
    )
    network = initial_network(plan.network, 0, typical_patches(plan, bank))
    drawn = draw(clips, torch.Generator().manual_seed(1), 192, 2, span=0.4)
    views = prepare(drawn.clips, drawn.resets, drawn.mirrored)
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
