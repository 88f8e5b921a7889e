# SPDX-License-Identifier: Apache-2.0
"""Tensors must be those of the network, complete and finite; the error lists the others."""

from __future__ import annotations

import pytest
import torch

from ttt3r_ros.errors import CheckpointError
from ttt3r_ros.model.checkpoints.checkpoint import check_tensors


@pytest.fixture
def tensors():
    names = (
        "patch_embed_ray_map.proj.weight",
        "enc_norm_ray_map.bias",
        "pose_retriever.mem",
        "downstream_head.rgb_proj.fc1.weight",
        "downstream_head.proj.fc1.weight",
    )
    return {name: torch.ones(3, 8) for name in names} | {"register_tokens.weight": torch.ones(6, 64)}


def shapes_of(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize("branches", [(), ("rgb_proj",), ("ray_map",)])
@pytest.mark.parametrize("side", ["expected", "given"])
def test_whole_optional_branches_may_be_absent_on_either_side(tensors, branches, side):
    fewer = {k: v for k, v in tensors.items() if not any(branch in k for branch in branches)}
    if side == "given":
        check_tensors(shapes_of(tensors), fewer)
    else:
        check_tensors(shapes_of(fewer), tensors)


def test_half_an_optional_branch_is_refused(tensors):
    expected = shapes_of(tensors)
    del tensors["enc_norm_ray_map.bias"]
    with pytest.raises(CheckpointError, match=r"1 missing: enc_norm_ray_map\.bias"):
        check_tensors(expected, tensors)


def test_missing_unexpected_and_misshaped_tensors_are_listed_and_counted(tensors):
    expected = shapes_of(tensors) | {f"lost.{i:03}": (1,) for i in range(30)}
    tensors |= {"stray": torch.ones(1), "register_tokens.weight": torch.ones(5, 64)}
    with pytest.raises(CheckpointError) as caught:
        check_tensors(expected, tensors)
    message = str(caught.value)
    assert "30 missing: lost.000" in message
    assert "lost.019, ..." in message
    assert "lost.020" not in message
    assert "1 unexpected: stray" in message
    assert "1 of another shape: register_tokens.weight (5, 64) instead of (6, 64)" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weight_that_is_not_finite_is_refused_by_name(tensors, value, dtype):
    tensors["pose_retriever.mem"] = torch.ones(3, 8, dtype=dtype)
    tensors["pose_retriever.mem"][1, 5] = value
    with pytest.raises(CheckpointError, match=r"pose_retriever\.mem holds NaN or infinite"):
        check_tensors(shapes_of(tensors), tensors)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float8_e4m3fn])
def test_a_weight_that_is_no_ordinary_float_is_refused_by_name(tensors, dtype):
    tensors["pose_retriever.mem"] = tensors["pose_retriever.mem"].to(dtype)
    with pytest.raises(CheckpointError, match=r"pose_retriever\.mem has type"):
        check_tensors(shapes_of(tensors), tensors)


def test_weights_that_fit_pass(tensors):
    check_tensors(shapes_of(tensors), tensors)
