# SPDX-License-Identifier: Apache-2.0
"""Cheaper arithmetic stays close to float32, and what adds up stays in float32."""

from __future__ import annotations

import logging

import pytest
import torch
from small_networks import DPT, LINEAR, images

from ttt3r_ros.errors import DeviceError
from ttt3r_ros.model.checkpoints.networks import seeded_network
from ttt3r_ros.model.network.attention import attend
from ttt3r_ros.model.network.config import NetworkConfig
from ttt3r_ros.model.network.low_precision import HalfLinear, Int8Linear
from ttt3r_ros.model.network.view import OptionalOutputs, View
from ttt3r_ros.model.runtime.precision import resolve_precision, use_precision

# Relative, a few times the unit of the last place.
TOLERANCE = {"bfloat16": 3e-2, "float16": 4e-3, "int8": 1e-1}
SMALL = NetworkConfig(enc_embed_dim=256, enc_num_heads=4)
PUBLISHED = NetworkConfig.published_512_dpt()


def shown(config: NetworkConfig, precision: str):
    network = use_precision(seeded_network(config, seed=2), precision)
    state = network.initial_state()
    with torch.inference_mode():
        for seed in range(4):
            output, state = network.step(
                View(images(1, seed)), state, OptionalOutputs(world=True, rgb=config.rgb_head)
            )
    return output, state


def deviation(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("config", [LINEAR, DPT], ids=["linear", "dpt"])
def test_pose_points_and_state_stay_close_to_float32(config, precision):
    exact, exact_state = shown(config, "float32")
    found, state = shown(config, precision)
    pairs = (
        (found.pose, exact.pose),
        # An untrained head has depths about 0, whose sign decides on which side the whole point lies.
        (found.camera.points.abs(), exact.camera.points.abs()),
        (found.world.points, exact.world.points),
        (state.tokens, exact_state.tokens),
        (state.memory, exact_state.memory),
    )
    deviations = [deviation(*pair) for pair in pairs]
    assert max(deviations) < TOLERANCE[precision]
    assert max(deviations) > 0, "nothing was computed otherwise"


@pytest.mark.parametrize("precision", TOLERANCE)
def test_what_leaves_a_step_is_float32(precision):
    output, state = shown(DPT, precision)
    for tensor in (
        output.pose,
        output.camera.points,
        output.camera.confidence,
        state.tokens,
        state.memory,
    ):
        assert tensor.dtype == torch.float32


def test_a_half_layer_takes_any_float_and_returns_its_own_type_or_the_requested_one():
    layer = torch.nn.Linear(8, 3)
    x = torch.randn(2, 8, dtype=torch.float64)
    assert HalfLinear(layer, torch.bfloat16)(x).dtype == torch.bfloat16
    assert HalfLinear(layer, torch.bfloat16, torch.float32)(x).dtype == torch.float32


def test_an_int8_layer_is_within_its_rounding_of_the_exact_one():
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(128, 64).requires_grad_(requires_grad=False), torch.randn(5, 7, 128)
    found, exact = Int8Linear(layer, torch.bfloat16)(x), layer(x)
    assert found.shape == exact.shape
    assert deviation(found, exact) < 0.03


@pytest.mark.parametrize(
    ("fast", "config", "expected"),
    [(True, PUBLISHED, "bfloat16"), (True, SMALL, "float32"), (False, PUBLISHED, "float32")],
)
def test_auto_takes_bfloat16_on_a_processor_that_has_it_where_layers_are_wide(
    monkeypatch, fast, config, expected
):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    assert resolve_precision("auto", "cpu", config) == expected


def test_bfloat16_on_a_cpu_without_instructions_logs_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    with caplog.at_level(logging.WARNING):
        assert resolve_precision("bfloat16", "cpu", SMALL) == "bfloat16"
    (record,) = caplog.records
    assert record.args == ("bfloat16",)


@pytest.mark.parametrize(("has_bfloat16", "kind"), [(True, torch.bfloat16), (False, torch.float32)])
def test_beside_int8_a_processor_computes_in_bfloat16_only_if_it_has_that(
    monkeypatch, has_bfloat16, kind
):
    monkeypatch.setattr(
        "ttt3r_ros.model.runtime.precision._processor_has_bfloat16", lambda: has_bfloat16
    )
    network = use_precision(seeded_network(SMALL), "int8")
    assert network.attention_dtype == kind
    assert network.enc_blocks[0].mlp.fc1(torch.rand(1, 3, SMALL.enc_embed_dim)).dtype == kind
    dtypes = {parameter.dtype for parameter in network.parameters()}
    assert dtypes == {torch.float32, kind}


def test_int8_on_a_cuda_device_is_refused_with_what_would_work(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    with pytest.raises(DeviceError, match=r"precision int8 .* not on cuda:0; expected float32"):
        resolve_precision("int8", "cuda:0", SMALL)


def test_weights_without_a_ray_encoder_change_their_arithmetic_too():
    network = use_precision(seeded_network(LINEAR, ray_maps=False), "bfloat16")
    output, _ = network.step(View(images(1, 1)), network.initial_state())
    assert torch.isfinite(output.pose).all()


@pytest.mark.parametrize("heads", [1, 4, 6])
def test_attention_a_few_heads_at_a_time_is_attention(heads):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, heads, n, 16, generator=generator) for n in (7, 300, 300))
    found = attend(*(tensor.bfloat16() for tensor in (q, k, v)))
    exact = torch.softmax(q @ k.transpose(-1, -2) / 4, dim=-1) @ v
    assert found.shape == exact.shape
    assert deviation(found.float(), exact) < 2e-2
