# SPDX-License-Identifier: Apache-2.0
"""Properties of the network that no recorded case shows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from small_networks import DPT, LINEAR, images

from ttt3r_ros.errors import CheckpointError, ConfigError, ImageError
from ttt3r_ros.model.checkpoints.networks import (
    load_tensors,
    seeded_network,
    tensor_shapes,
)
from ttt3r_ros.model.network import heads
from ttt3r_ros.model.network.attention import mean_logit
from ttt3r_ros.model.network.config import NetworkConfig
from ttt3r_ros.model.network.rope import grid_positions, rotary_table, rotate, state_positions
from ttt3r_ros.model.network.state import RecurrentState
from ttt3r_ros.model.network.update_rules import UPDATE_RULES, UpdateInputs, update_rule
from ttt3r_ros.model.network.view import OptionalOutputs, View

if TYPE_CHECKING:
    from ttt3r_ros.model.network.network import Ttt3r

EVERYTHING = OptionalOutputs(world=True, rgb=True)


@pytest.fixture(params=[LINEAR, DPT], ids=["linear", "dpt"])
def network(request) -> Ttt3r:
    return seeded_network(request.param, seed=3)


def run(
    network: Ttt3r, views: list[View], state: RecurrentState | None = None
) -> tuple[list, RecurrentState]:
    state = state or network.initial_state(views[0].source().shape[0])
    outputs = []
    for view in views:
        output, state = network.step(view, state, EVERYTHING)
        outputs.append(output)
    return outputs, state


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    """Compare relative to the largest magnitude, as the golden cases do: expm1 amplifies rounding."""
    assert a.shape == b.shape
    torch.testing.assert_close(a, b, rtol=0.0, atol=2e-5 * max(float(b.abs().max()), 1e-3))


def test_a_batch_gives_what_its_members_give_alone(network):
    streams = [[images(1, seed=10 * s + t) for t in range(3)] for s in range(3)]
    batched, state = run(network, [View(torch.cat([stream[t] for stream in streams])) for t in range(3)])
    for s, stream in enumerate(streams):
        alone, state_alone = run(network, [View(image) for image in stream])
        for t in range(3):
            close(batched[t].pose[s], alone[t].pose[0])
            close(batched[t].camera.points[s], alone[t].camera.points[0])
            close(batched[t].world.confidence[s], alone[t].world.confidence[0])
            close(batched[t].internals.gate_logit[s], alone[t].internals.gate_logit[0])
        close(state.tokens[s], state_alone.tokens[0])
        close(state.memory[s], state_alone.memory[0])


def test_members_of_a_batch_may_be_fresh_and_may_learn_independently(network):
    _, old = run(network, [View(images(1, 1)), View(images(1, 2))])
    new = network.initial_state()
    mixed = RecurrentState(
        *(
            torch.cat((getattr(old, n), getattr(new, n), getattr(old, n)))
            for n in ("tokens", "memory", "fresh")
        )
    )
    view = View(images(1, 3).expand(3, -1, -1, -1), update=torch.tensor([True, True, False]))
    (output,), state = run(network, [view], mixed)
    (from_old,), learnt_old = run(network, [View(images(1, 3))], old)
    (from_new,), learnt_new = run(network, [View(images(1, 3))], new)
    close(output.pose[0], from_old.pose[0])
    close(output.pose[1], from_new.pose[0])
    close(output.pose[2], from_old.pose[0])
    close(state.tokens[0], learnt_old.tokens[0])
    close(state.tokens[1], learnt_new.tokens[0])
    assert torch.equal(state.tokens[2], old.tokens[0])
    assert torch.equal(state.memory[2], old.memory[0])


def test_a_step_leaves_the_state_it_was_given_unchanged(network):
    _, state = run(network, [View(images(1, 1))])
    copies = [getattr(state, name).clone() for name in ("tokens", "memory", "fresh")]
    run(network, [View(images(1, 2))], state)
    for name, copy in zip(("tokens", "memory", "fresh"), copies, strict=True):
        assert torch.equal(getattr(state, name), copy)


def test_the_same_state_and_view_give_the_same_answer_again(network):
    _, state = run(network, [View(images(1, 1))])
    first, _ = run(network, [View(images(1, 2))], state)
    second, _ = run(network, [View(images(1, 2))], state)
    assert torch.equal(first[0].camera.points, second[0].camera.points)


def test_optional_heads_do_not_run_when_they_are_off(network):
    ran: list[str] = []
    for name, module in network.downstream_head.named_children():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for block in module if isinstance(module, torch.nn.ModuleList) else ():
            block.register_forward_hook(lambda *_, name=name: ran.append(name))
    network.step(View(images(1)), network.initial_state(), OptionalOutputs())
    assert set(ran) == {
        "pose_head",
        "dpt_self" if hasattr(network.downstream_head, "dpt_self") else "proj",
    }
    network.step(View(images(1)), network.initial_state(), EVERYTHING)
    assert len(set(ran)) == 5


def test_no_attention_map_is_ever_formed(network, monkeypatch):
    """Softmax over an explicit map would show; fused attention never calls it."""

    def refuse(*_, **__):
        pytest.fail("an attention map was formed")

    for owner, name in ((torch, "softmax"), (torch.Tensor, "softmax"), (torch.nn.functional, "softmax")):
        monkeypatch.setattr(owner, name, refuse)
    run(network, [View(images(1, 1)), View(images(1, 2))])


def test_the_gate_is_the_mean_of_all_attention_logits():
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, 3, n, 8, generator=generator) for n in (5, 7))
    explicit = (q @ k.transpose(-1, -2) * 8**-0.5).mean(dim=(1, 3))
    close(mean_logit(q, k), explicit)


def test_the_first_view_is_learnt_whole_and_later_ones_by_the_gate():
    network = seeded_network(LINEAR, rule="ttt3r")
    (first,), state = run(network, [View(images(1, 1))])
    assert torch.equal(state.tokens, first.internals.proposed_tokens)
    (second,), learnt = run(network, [View(images(1, 2))], state)
    alpha = second.internals.gate_logit.sigmoid()[..., None]
    close(learnt.tokens, alpha * second.internals.proposed_tokens + (1 - alpha) * state.tokens)
    assert torch.equal(learnt.memory, second.internals.proposed_memory)


def test_cut3r_takes_the_whole_proposal():
    network = seeded_network(LINEAR, rule="cut3r")
    outputs, state = run(network, [View(images(1, 1)), View(images(1, 2))])
    assert torch.equal(state.tokens, outputs[-1].internals.proposed_tokens)


@pytest.mark.parametrize("rule", UPDATE_RULES)
def test_every_rule_stays_between_nothing_and_everything(rule):
    generator = torch.Generator().manual_seed(0)
    proposed, previous = torch.randn(2, 1, 9, 4, generator=generator)
    alpha = update_rule(rule)(UpdateInputs(torch.linspace(-9, 9, 9)[None], proposed, previous))
    assert alpha.shape == (1, 9)
    assert ((alpha >= 0) & (alpha <= 1)).all()


def test_an_unknown_rule_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"'magic'.*cut3r, ttt3r"):
        update_rule("magic")


def test_a_poisoned_proposal_does_not_reach_a_state_that_must_not_learn(network):
    _, state = run(network, [View(images(1, 1))])
    poison = torch.full((1, 3, 48, 64), float("nan"))
    _, after = network.step(View(poison, update=torch.tensor([False])), state)
    assert after.is_finite_sync()
    _, after = network.step(View(ray_map=torch.full((1, 6, 48, 64), float("nan"))), state)
    assert after.is_finite_sync()
    _, after = network.step(View(poison), state)
    assert not after.is_finite_sync()


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 48), (16, 80), (80, 16), (112, 32)])
def test_any_multiple_of_the_patch_size_gives_maps_of_that_size(network, height, width):
    (output,), _ = run(network, [View(images(1, height=height, width=width))])
    assert output.camera.points.shape == (1, height, width, 3)
    assert output.world.confidence.shape == (1, height, width)
    assert output.rgb.shape == (1, height, width, 3)
    assert output.rgb.abs().max() < 1


def test_images_may_change_size_within_a_stream(network):
    outputs, state = run(network, [View(images(1)), View(images(1, height=32, width=96))])
    assert outputs[-1].camera.points.shape == (1, 32, 96, 3)
    assert state.is_finite_sync()


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (View(), "neither"),
        (View(images(1, height=40)), "64x40"),
        (View(images(1, width=0)), "0x48"),
        (View(images(1), torch.zeros(1, 6, 32, 64)), "differ"),
        (View(images(2), torch.zeros(1, 6, 48, 64)), "differ"),
    ],
)
def test_a_view_that_cannot_be_used_is_refused(network, view, words):
    with pytest.raises(ImageError, match=words):
        network.step(view, network.initial_state())


def test_the_quaternion_is_of_unit_length_with_a_positive_real_part(network):
    outputs, _ = run(network, [View(images(4, seed)) for seed in range(5)])
    quaternions = torch.cat([output.pose[:, 3:] for output in outputs])
    close(quaternions.norm(dim=-1), torch.ones(20))
    assert (quaternions[:, 0] >= 0).all()


def test_the_linear_head_puts_no_point_behind_the_camera():
    (output,), _ = run(seeded_network(LINEAR), [View(images(1))])
    assert (output.camera.points[..., 2] >= 0).all()


def test_without_an_rgb_head_colors_are_refused_and_the_rest_works():
    network = seeded_network(replace(LINEAR, rgb_head=False))
    output, _ = network.step(View(images(1)), network.initial_state(), OptionalOutputs(world=True))
    assert output.rgb is None
    with pytest.raises(ConfigError, match="rgb head"):
        network.step(View(images(1)), network.initial_state(), OptionalOutputs(rgb=True))


def test_a_checkpoint_without_ray_maps_maps_images_and_refuses_rays():
    tensors = {n: t for n, t in seeded_network(LINEAR).state_dict().items() if "ray_map" not in n}
    network = load_tensors(LINEAR, tensors)
    network.step(View(images(1)), network.initial_state())
    with pytest.raises(ImageError, match="ray-map"):
        network.step(View(ray_map=torch.zeros(1, 6, 48, 64)), network.initial_state())


def test_half_precision_weights_become_float32():
    tensors = {n: t.half() for n, t in seeded_network(LINEAR).state_dict().items()}
    network = load_tensors(LINEAR, tensors)
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_missing_and_surplus_tensors_are_listed():
    tensors = dict(seeded_network(LINEAR).state_dict())
    tensors["dec_norm.surplus"] = torch.zeros(1)
    del tensors["pose_token"]
    with pytest.raises(CheckpointError, match=r"(?s)pose_token.*dec_norm\.surplus"):
        load_tensors(LINEAR, tensors)


def test_the_same_seed_gives_the_same_network_and_another_seed_another():
    one, same, other = (seeded_network(LINEAR, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["decoder_embed.weight"], other["decoder_embed.weight"])


def test_the_published_networks_have_their_published_sizes():
    def count(config: NetworkConfig) -> int:
        return sum(torch.Size(shape).numel() for shape in tensor_shapes(config).values())

    unused = 2 * 1024  # two mask tokens that the streaming path never meets
    unused_dpt = unused + 3 * 2 * (256 * 256 * 9 + 256)  # refinenet4.resConfUnit1 of three heads
    assert count(NetworkConfig.published_224_linear()) == 748_443_655 - unused
    assert count(NetworkConfig.published_512_dpt()) == 793_307_858 - unused_dpt


def test_rotary_embedding_turns_by_the_difference_of_positions():
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 16, generator=generator)

    def product(at: tuple[int, int], of: tuple[int, int]) -> torch.Tensor:
        tables = [rotary_table(torch.tensor([position]), 16, 100.0) for position in (at, of)]
        return (rotate(q, tables[0]) * rotate(k, tables[1])).sum()

    close(product((5, 9), (2, 11)), product((2, -3), (-1, -1)))  # positions may be negative
    assert not torch.allclose(product((5, 9), (2, 11)), product((9, 5), (11, 2)))


def test_positions_of_state_and_patches():
    assert state_positions(20, "2d").tolist()[:5] == [[0, 0], [0, 1], [0, 2], [0, 3], [1, 0]]
    assert state_positions(768, "2d").tolist()[28] == [1, 0]
    assert state_positions(27, "2d").tolist()[6] == [1, 0]  # an odd width is rounded up
    assert state_positions(3, "1d").tolist() == [[0, 0], [1, 1], [2, 2]]
    assert grid_positions(2, 3).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


def test_the_modes_of_points_and_confidence():
    raw = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]])
    inf = float("inf")
    close(heads.decode_vectors(raw, ("linear", -inf, inf)), raw)
    close(heads.decode_vectors(raw, ("square", -inf, inf)), raw * 5)
    close(heads.decode_vectors(raw, ("exp", -inf, inf))[1], raw[1] / 5 * torch.expm1(torch.tensor(5.0)))
    x = torch.tensor([-2.0, 0.0, 50.0])
    close(heads.decode_confidence(x, ("exp", 1.0, inf))[:2], 1 + x[:2].exp())
    close(heads.decode_confidence(x, ("exp", 1.0, 3.0))[2], torch.tensor(3.0))
    close(heads.decode_confidence(x, ("sigmoid", 0.0, 2.0)), 2 * x.sigmoid())
