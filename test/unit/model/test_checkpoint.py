# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of all published variants load to the same names; what does not fit is refused."""

from __future__ import annotations

import argparse
import hashlib
import logging

import pytest
import safetensors.torch
import torch

from ttt3r_ros.errors import CheckpointError
from ttt3r_ros.model.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from ttt3r_ros.model.checkpoints.networks import (
    PACKAGE_WEIGHTS,
    load_network,
    seeded_network,
    tensor_shapes,
)
from ttt3r_ros.model.network.config import DptWidths, NetworkConfig
from ttt3r_ros.model.network.view import View

TINY = {
    "enc_embed_dim": 64,
    "enc_depth": 1,
    "enc_num_heads": 4,
    "dec_embed_dim": 64,
    "dec_depth": 2,
    "dec_num_heads": 2,
    "state_dec_num_heads": 8,
    "state_size": 6,
    "local_mem_size": 3,
    "ray_enc_depth": 1,
}
SHAPES = {
    "patch_embed.proj.weight": (64, 3, 16, 16),
    "patch_embed_ray_map.proj.weight": (64, 6, 16, 16),
    "enc_blocks.0.mlp.fc1.weight": (256, 64),
    "enc_blocks_ray_map.0.norm1.weight": (64,),
    "decoder_embed.weight": (64, 64),
    "dec_blocks.0.norm_y.weight": (64,),
    "dec_blocks.1.norm_y.weight": (64,),
    "dec_blocks_state.0.norm_y.weight": (64,),
    "dec_blocks_state.1.norm_y.weight": (64,),
    "register_tokens.weight": (6, 64),
    "pose_retriever.mem": (1, 3, 128),
}
LINEAR = {"downstream_head.proj.fc1.weight": (256, 64), "downstream_head.rgb_proj.fc1.weight": (256, 64)}
DPT = {
    f"downstream_head.{head}.{name}": shape
    for head in ("dpt_self", "dpt_rgb")
    for name, shape in {
        "scratch.layer1_rn.weight": (24, 4, 3, 3),
        "scratch.layer2_rn.weight": (24, 6, 3, 3),
        "act_postprocess.0.0.weight": (4, 64, 1, 1),
        "act_postprocess.1.0.weight": (6, 64, 1, 1),
        "act_postprocess.2.0.weight": (8, 64, 1, 1),
        "act_postprocess.3.0.weight": (10, 64, 1, 1),
        "head.0.weight": (12, 24, 3, 3),
        "head.4.weight": (4, 12, 1, 1),
    }.items()
}
ALIAS = "downstream_head.dpt_self.scratch.layer_rn.1.weight"
ALIASED = "downstream_head.dpt_self.scratch.layer2_rn.weight"


def random_tensors(shapes):
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def model_string(**changes):
    settings = ", ".join(f"{key}={value!r}" for key, value in {**TINY, **changes}.items())
    return f"ARCroco3DStereo(ARCroco3DStereoConfig(freeze='encoder', {settings}))"


def save(path, tensors, text=None):
    args = {} if text is None else {"args": argparse.Namespace(model=text, lr=1e-6)}
    torch.save({"model": tensors, "epoch": 3, **args}, path)
    return path


def assert_equal_tensors(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tiny_weights.pth"


@pytest.fixture
def linear():
    return random_tensors(SHAPES | LINEAR)


@pytest.fixture
def dpt():
    return random_tensors(SHAPES | DPT)


def test_a_checkpoint_carries_configuration_weights_name_and_hash(path, linear):
    save(path, linear, model_string(head_type="linear", img_size=(64, 48)))
    checkpoint = load_checkpoint(path)
    assert checkpoint.config == NetworkConfig(**TINY, head_type="linear", img_size=(64, 48))
    assert_equal_tensors(checkpoint.tensors, linear)
    assert checkpoint.name == "tiny_weights"
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_prefix_of_data_parallel_training_is_stripped(path, linear):
    save(path, {f"module.{k}": v for k, v in linear.items()}, model_string(head_type="linear"))
    assert_equal_tensors(load_checkpoint(path).tensors, linear)


def test_a_prefix_on_some_names_only_is_part_of_the_name(path, linear):
    save(path, {**linear, "module.extra": torch.ones(1)}, model_string(head_type="linear"))
    assert "module.extra" in load_checkpoint(path).tensors


def test_a_missing_state_decoder_starts_as_an_independent_copy_of_the_image_decoder(path, linear):
    older = {k: v for k, v in linear.items() if not k.startswith("dec_blocks_state")}
    tensors = load_checkpoint(save(path, older, model_string(head_type="linear"))).tensors
    assert tensors.keys() == linear.keys()
    copy = tensors["dec_blocks_state.1.norm_y.weight"]
    assert torch.equal(copy, linear["dec_blocks.1.norm_y.weight"])
    copy.zero_()
    assert torch.equal(tensors["dec_blocks.1.norm_y.weight"], linear["dec_blocks.1.norm_y.weight"])


def test_aliases_and_parameters_that_are_never_used_are_dropped(path, dpt):
    extras = {
        ALIAS: dpt[ALIASED],
        "mask_token": torch.ones(1),
        "masked_img_token": torch.ones(1),
        "masked_ray_map_token": torch.ones(1),
        "enc_pos_embed": torch.ones(1),
        "prediction_head.weight": torch.ones(1),
        "downstream_head.dpt_self.scratch.refinenet4.resConfUnit1.conv1.bias": torch.ones(1),
    }
    assert_equal_tensors(load_checkpoint(save(path, dpt | extras, model_string())).tensors, dpt)


def test_the_residual_units_that_are_used_are_kept(path, dpt):
    used = "downstream_head.dpt_self.scratch.refinenet3.resConfUnit1.conv1.bias"
    tensors = load_checkpoint(save(path, {**dpt, used: torch.ones(1)}, model_string())).tensors
    assert used in tensors


def test_an_alias_alone_takes_the_canonical_name(path, dpt):
    renamed = {ALIAS if name == ALIASED else name: tensor for name, tensor in dpt.items()}
    assert_equal_tensors(load_checkpoint(save(path, renamed, model_string())).tensors, dpt)


def test_an_alias_of_another_shape_is_refused(path, dpt):
    save(path, {**dpt, ALIAS: torch.ones(2, 2)}, model_string())
    with pytest.raises(CheckpointError, match=r"layer_rn[.]1[.]weight has shape"):
        load_checkpoint(path)


def test_dpt_widths_come_from_the_tensors(path, dpt):
    config = load_checkpoint(save(path, dpt, model_string())).config
    assert config.dpt == DptWidths(24, 12, (4, 6, 8, 10))


def test_unreadable_dpt_widths_are_refused(path, dpt):
    del dpt["downstream_head.dpt_self.head.4.weight"]
    with pytest.raises(CheckpointError, match=r"widths of downstream_head[.]dpt_self"):
        load_checkpoint(save(path, dpt, model_string()))


@pytest.mark.parametrize(
    "changes",
    [
        {"enc_embed_dim": 128},
        {"enc_depth": 2},
        {"dec_embed_dim": 128},
        {"dec_depth": 3},
        {"state_size": 7},
        {"local_mem_size": 4},
        {"ray_enc_depth": 2},
        {"patch_size": 8},
        {"head_type": "linear"},
        {"norm_im2_in_dec": False},
        {"rgb_head": False},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_configuration_that_contradicts_the_shapes_is_refused(path, dpt, changes):
    name, value = next(iter(changes.items()))
    with pytest.raises(CheckpointError, match=f"contradicts the tensors: {name} is {value!r}"):
        load_checkpoint(save(path, dpt, model_string(**changes)))


def test_every_contradiction_is_listed(path, dpt):
    with pytest.raises(
        CheckpointError, match=r"enc_depth is 2, 1 by shape; .*state_size|state_size.*enc_depth"
    ):
        load_checkpoint(save(path, dpt, model_string(enc_depth=2, state_size=7)))


def test_a_missing_color_branch_is_logged(path, linear):
    del linear["downstream_head.rgb_proj.fc1.weight"]
    config = load_checkpoint(save(path, linear, model_string(head_type="linear"))).config
    assert not config.rgb_head


@pytest.mark.parametrize("text", [model_string(enc_depth="many"), "ARCroco3DStereo(eval('1'))"])
def test_a_string_that_makes_no_network_is_a_checkpoint_error(path, linear, text):
    with pytest.raises(CheckpointError, match="tiny_weights"):
        load_checkpoint(save(path, linear, text))


def test_without_a_string_the_shapes_decide_and_the_assumptions_are_logged(path, caplog):
    shapes = {
        **(SHAPES | LINEAR),
        "patch_embed.proj.weight": (128, 3, 8, 8),
        "enc_blocks.0.mlp.fc1.weight": (256, 128),
    }
    with caplog.at_level(logging.WARNING):
        config = load_checkpoint(save(path, random_tensors(shapes))).config
    assert config == NetworkConfig(
        **(
            TINY
            | {"enc_embed_dim": 128, "enc_num_heads": 2, "dec_num_heads": 1, "state_dec_num_heads": 1}
        ),
        mlp_ratio=2.0,
        patch_size=8,
        head_type="linear",
        img_size=(224, 224),
    )
    assert "enc_num_heads=2, dec_num_heads=1, state_dec_num_heads=1" in caplog.text


def test_without_a_string_the_published_widths_have_the_published_heads(path):
    shapes = {
        **(SHAPES | LINEAR),
        "patch_embed.proj.weight": (1024, 1, 1, 16),
        "decoder_embed.weight": (768, 1),
    }
    config = load_checkpoint(save(path, random_tensors(shapes))).config
    assert (config.enc_num_heads, config.dec_num_heads, config.state_dec_num_heads) == (16, 12, 16)


def test_head_counts_that_cannot_be_derived_must_be_stated(path):
    tensors = random_tensors(SHAPES | LINEAR | {"decoder_embed.weight": (48, 64)})
    where = r"dec_num_heads cannot be assumed for a width of 48; .* args.model .* 'ttt3r_config' in the metadata"
    with pytest.raises(CheckpointError, match=where):
        load_checkpoint(save(path, tensors))
    stated = {"dec_embed_dim": 48, "dec_num_heads": 4, "state_dec_num_heads": 2, "head_type": "linear"}
    assert load_checkpoint(save(path, tensors, model_string(**stated))).config.dec_num_heads == 4
    file = path.with_suffix(".safetensors")
    config = NetworkConfig(**TINY | stated)
    safetensors.torch.save_file(tensors, file, metadata={"ttt3r_config": config.to_json()})
    assert load_checkpoint(file).config == config


def test_blocks_that_are_only_stated_are_refused_before_they_are_built(path, linear):
    fewer = {name: t for name, t in linear.items() if not name.startswith("enc_blocks.")}
    with pytest.raises(CheckpointError, match="enc_depth is 1000, 0 by shape"):
        load_checkpoint(save(path, fewer, model_string(head_type="linear", enc_depth=1000)))


def test_a_field_that_no_tensor_determines_is_named(path, linear):
    del linear["register_tokens.weight"]
    with pytest.raises(CheckpointError, match="state_size"):
        load_checkpoint(save(path, linear))


def test_a_tensor_of_the_wrong_rank_is_refused(path, linear):
    linear["pose_retriever.mem"] = torch.ones(3)
    with pytest.raises(CheckpointError, match=r"pose_retriever\.mem has shape \(3,\)"):
        load_checkpoint(save(path, linear, model_string(head_type="linear")))


def test_safetensors_keep_every_bit_and_the_configuration(path, dpt, tmp_path):
    dpt["dec_blocks.0.norm_y.weight"] = dpt["dec_blocks.0.norm_y.weight"].to(torch.bfloat16)
    shared = torch.rand(8, 64)
    dpt |= {"turned": shared[:4].T, "one": shared[:6], "other": shared[2:]}  # overlapping
    save(path, dpt, model_string(img_size=(64, 48)))
    before = load_checkpoint(path)
    save_checkpoint(tmp_path / "out.safetensors", before.tensors, before.config)
    after = load_checkpoint(tmp_path / "out.safetensors")
    assert after.config == before.config
    assert_equal_tensors(after.tensors, dpt)
    assert after.name == "out"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.safetensors", path.name]


def test_safetensors_without_metadata_are_read_by_shape(tmp_path, linear, caplog):
    safetensors.torch.save_file(linear, tmp_path / "bare.safetensors")
    with caplog.at_level(logging.WARNING):
        checkpoint = load_checkpoint(tmp_path / "bare.safetensors")
    assert checkpoint.config.state_size == 6
    assert "no configuration in the checkpoint" in caplog.text


@pytest.mark.parametrize("metadata", ["{", "[]", '{"enc_depth": 7}', '{"head_type": "mlp"}'])
def test_safetensors_with_unfitting_metadata_are_refused(tmp_path, linear, metadata):
    file = tmp_path / "odd.safetensors"
    safetensors.torch.save_file(linear, file, metadata={"ttt3r_config": metadata})
    with pytest.raises(CheckpointError, match=r"odd\.safetensors"):
        load_checkpoint(file)


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 8 + b"{}", b"PK\x03\x04" * 9])
def test_damaged_safetensors_are_refused(tmp_path, content):
    file = tmp_path / "odd.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"odd\.safetensors"):
        load_checkpoint(file)


@pytest.mark.parametrize("name", ["absent.pth", "absent.safetensors"])
def test_a_missing_file_is_refused(tmp_path, name):
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(tmp_path / name)


def test_an_unwritable_path_is_an_os_error(tmp_path, linear):
    config = NetworkConfig(**TINY, head_type="linear")
    with pytest.raises(OSError, match="No such file"):
        save_checkpoint(tmp_path / "absent" / "x.safetensors", linear, config)


@pytest.mark.parametrize("memory_ratio", [4.0, 2.0, 3.3])
def test_the_pose_memory_s_mlp_ratio_follows_from_the_shapes(path, memory_ratio):
    stated = TINY | {"head_type": "linear", "mlp_ratio": 2.0, "img_size": (32, 32)}
    config = NetworkConfig(**stated, memory_mlp_ratio=memory_ratio)
    tensors = seeded_network(config, seed=5).state_dict()
    loaded = load_network(save(path, tensors, model_string(**stated))).network
    hidden = loaded.pose_retriever.write_blocks[1].mlp.fc1.out_features
    assert hidden == int(2 * 64 * memory_ratio)
    output, _ = loaded.step(View(torch.zeros(1, 3, 32, 32)), loaded.initial_state())
    expected, _ = seeded_network(config, seed=5).step(
        View(torch.zeros(1, 3, 32, 32)), loaded.initial_state()
    )
    assert torch.equal(output.pose, expected.pose)


def test_the_pose_memory_has_ratio_4_unless_stated():
    shapes = tensor_shapes(NetworkConfig(**TINY, mlp_ratio=2.0, head_type="linear"))
    assert shapes["pose_retriever.read_blocks.0.mlp.fc1.weight"] == (512, 128)
    assert shapes["dec_blocks.0.mlp.fc1.weight"] == (128, 64)


def test_the_package_s_weights_have_a_pose_memory_of_ratio_2():
    config = load_checkpoint(PACKAGE_WEIGHTS).config
    assert (config.mlp_ratio, config.memory_mlp_ratio) == (2.0, 2.0)
