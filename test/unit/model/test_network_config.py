# SPDX-License-Identifier: Apache-2.0
"""The configuration string is read as literals, and impossible networks are refused."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttt3r_ros.errors import CheckpointError, ConfigError
from ttt3r_ros.model.network.config import DptWidths, NetworkConfig

PUBLISHED_512 = (
    "ARCroco3DStereo(ARCroco3DStereoConfig(freeze='encoder', state_size=768, state_pe='2d', "
    "pos_embed='RoPE100', rgb_head=True, pose_head=True, patch_embed_cls='ManyAR_PatchEmbed', "
    "img_size=(512, 512), head_type='dpt', output_mode='pts3d+pose', depth_mode=('exp', -inf, inf), "
    "conf_mode=('exp', 1, inf), pose_mode=('exp', -inf, inf), enc_embed_dim=1024, enc_depth=24, "
    "enc_num_heads=16, dec_embed_dim=768, dec_depth=12, dec_num_heads=12, landscape_only=False))"
)
PUBLISHED_224 = (
    "ARCroco3DStereo(ARCroco3DStereoConfig(freeze='encoder', state_size=768, state_pe='2d', "
    "pos_embed='RoPE100', rgb_head=True, pose_head=True,  img_size=(224, 224), head_type='linear', "
    "output_mode='pts3d+pose', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
    "pose_mode=('exp', -inf, inf), enc_embed_dim=1024, enc_depth=24, enc_num_heads=16, "
    "dec_embed_dim=768, dec_depth=12, dec_num_heads=12))"
)


def call(arguments: str) -> str:
    return f"ARCroco3DStereo(ARCroco3DStereoConfig({arguments}))"


def test_the_published_512_string_gives_the_published_512_configuration():
    assert NetworkConfig.from_model_string(PUBLISHED_512) == NetworkConfig.published_512_dpt()


def test_the_published_224_string_gives_the_published_224_configuration():
    assert NetworkConfig.from_model_string(PUBLISHED_224) == NetworkConfig.published_224_linear()


@pytest.mark.parametrize("white_space", ["  ", "\n", "\n    ", "\t", "\r\n  "])
def test_white_space_and_folded_lines_do_not_matter(white_space):
    text = white_space + PUBLISHED_512.replace(", ", "," + white_space) + white_space
    assert NetworkConfig.from_model_string(text) == NetworkConfig.published_512_dpt()


def test_absent_keys_take_the_defaults_of_the_original():
    config = NetworkConfig.from_model_string(call(""))
    assert (config.enc_embed_dim, config.enc_depth, config.enc_num_heads) == (768, 12, 12)
    assert (config.dec_embed_dim, config.dec_depth, config.dec_num_heads) == (512, 8, 16)
    assert (config.state_dec_num_heads, config.local_mem_size, config.mlp_ratio) == (16, 256, 4.0)


def test_the_patch_embedding_class_may_stand_without_quotes():
    config = NetworkConfig.from_model_string(call("patch_embed_cls=models.patch.ManyAR_PatchEmbed"))
    assert config == NetworkConfig()


def test_another_patch_embedding_is_refused():
    with pytest.raises(ConfigError, match="patch_embed_cls is 'Swin'"):
        NetworkConfig.from_model_string(call("patch_embed_cls='Swin'"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "os.system('true')",
        "ARCroco3DStereo()",
        "ARCroco3DStereo(ARCroco3DStereoConfig)",
        "ARCroco3DStereo(ARCroco3DStereoConfig(), 1)",
        "ARCroco3DStereo(ARCroco3DStereoConfig(768))",
        "ARCroco3DStereo(Other(enc_depth=1))",
        "x.ARCroco3DStereo(ARCroco3DStereoConfig())",
        call("enc_depth=__import__('os').system('true')"),
        call("enc_depth=(lambda: 1)()"),
        call("enc_depth=other_name"),
        call("enc_depth=1 + 1"),
        call("enc_depth=-'a'"),
        call("enc_depth=-True"),
        call("enc_depth=" + "-" * 1000 + "1"),
        call("img_size=[x for x in (1, 2)]"),
        call("img_size=(1, (2, 3))"),
        call("img_size=(*a, 1)"),
        call("img_size={1, 2}"),
        call("head_type=f'{1}'"),
        call("head_type=b'dpt'"),
        call("enc_depth=1j"),
        call("patch_embed_cls=f().x()"),
        call("enc_depth=1, enc_depth=2"),
        call("**{'enc_depth': 1}"),
        call("enc_depth=1") + "; import os",
        call("enc_depth=1\x00"),
        call("enc_depth=" + "-" * 30_000 + "1"),
        call("enc_depth=" + "(" * 30_000),
        call("enc_depth=a" + ".a" * 20_000),
        call("enc_depth=1" + "+1" * 20_000),
        call("enc_depth=" + "9" * 20_000),
        call("freeze='" + "x" * 70_000 + "'"),
    ],
    ids=lambda text: text[-40:].replace("\x00", "NUL"),
)
def test_a_string_that_is_not_a_literal_configuration_is_refused(text):
    with pytest.raises(CheckpointError, match="model string cannot be used") as caught:
        NetworkConfig.from_model_string(text)
    assert len(str(caught.value)) < 500


def test_a_number_too_long_to_print_is_refused_by_name():
    with pytest.raises(
        ConfigError, match="enc_depth is a huge int; expected a positive integer up to 1000"
    ):
        NetworkConfig.from_model_string(call("enc_depth=0x" + "f" * 20_000))


def test_unknown_settings_are_named_in_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        config = NetworkConfig.from_mapping({"enc_depth": 3, "wormhole": 1, "freeze": "encoder"})
    assert config.enc_depth == 3
    assert "wormhole" in caplog.text
    assert "freeze" not in caplog.text


def test_json_lists_and_infinity_strings_are_understood():
    config = NetworkConfig.from_mapping(
        {"conf_mode": ["exp", 1, "inf"], "depth_mode": ["linear", "-inf", "inf"], "img_size": [64, 48]}
    )
    assert config.conf_mode == ("exp", 1, math.inf)
    assert config.depth_mode == ("linear", -math.inf, math.inf)
    assert config.img_size == (64, 48)


def test_one_number_is_a_square_image():
    assert NetworkConfig.from_mapping({"img_size": 224}).img_size == (224, 224)


@settings(deadline=None)
@given(
    heads=st.integers(1, 8),
    depth=st.integers(1, 40),
    vmax=st.sampled_from([math.inf, 7.5]),
    layers=st.tuples(*[st.integers(1, 999)] * 4),
    rope=st.sampled_from(["RoPE100", "RoPE10000", "RoPE2.5"]),
)
def test_json_gives_back_the_same_configuration(heads, depth, vmax, layers, rope):
    config = NetworkConfig(
        enc_embed_dim=64 * heads,
        enc_num_heads=heads,
        dec_depth=depth,
        conf_mode=("sigmoid" if vmax < math.inf else "exp", 1.0, vmax),
        dpt=DptWidths(32, 16, layers),
        pos_embed=rope,
    )
    assert NetworkConfig.from_json(config.to_json()) == config


def test_the_json_is_strict():
    def refuse(constant):
        raise AssertionError(constant)

    decoded = json.loads(NetworkConfig().to_json(), parse_constant=refuse)
    assert decoded["pose_mode"] == ["exp", "-inf", "inf"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", "[" * 100_000, '{"enc_depth": "24"}', '{"dpt": {"a": 1}}']
)
def test_broken_json_is_refused(text):
    with pytest.raises(ConfigError):
        NetworkConfig.from_json(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enc_depth", 0),
        ("enc_depth", 2.0),
        ("enc_depth", True),
        ("enc_depth", 10**9),
        ("enc_embed_dim", 2**62),
        ("patch_size", 2**20),
        ("state_size", 2**2000),
        ("mlp_ratio", 1e300),
        ("mlp_ratio", 2**2000),
        ("conf_mode", ("exp", 2**2000, math.inf)),
        ("enc_embed_dim", 1000),
        ("enc_embed_dim", 96),  # 6 channels in each of the 16 heads of the ray-map encoder
        ("enc_num_heads", 5),
        ("dec_num_heads", 7),
        ("state_dec_num_heads", 256),  # heads of two channels
        ("mlp_ratio", 0.0),
        ("memory_mlp_ratio", 0.0),
        ("mlp_ratio", math.nan),
        ("mlp_ratio", "4"),
        ("state_pe", "none"),
        ("pos_embed", "cosine"),
        ("pos_embed", "RoPE0"),
        ("pos_embed", 100),
        ("norm_im2_in_dec", 1),
        ("pose_head", False),
        ("head_type", "mlp"),
        ("output_mode", "pts3d"),
        ("depth_mode", ("cube", -math.inf, math.inf)),
        ("depth_mode", ("exp", 0.0, 1.0)),
        ("pose_mode", ("exp", math.inf, -math.inf)),
        ("pose_mode", "exp"),
        ("conf_mode", ("linear", 1.0, 2.0)),
        ("conf_mode", ("exp", -math.inf, math.inf)),
        ("conf_mode", ("sigmoid", 0.0, math.inf)),
        ("conf_mode", ("exp", "1", math.inf)),
        ("img_size", (0, 512)),
        ("img_size", (512,)),
        ("dpt", None),
    ],
)
def test_an_impossible_setting_is_refused_with_its_name_and_value(name, value):
    with pytest.raises(ConfigError, match="expected") as caught:
        NetworkConfig(**{name: value})
    reported = "dec_embed_dim" if "dec_num" in name else "enc_embed_dim" if "enc_num" in name else name
    assert str(caught.value).startswith(f"{reported} is ")


@pytest.mark.parametrize(
    "widths", [{"feature_dim": 0}, {"layer_dims": (1, 2, 3)}, {"layer_dims": (1, 2, 3, -4)}]
)
def test_impossible_dpt_widths_are_refused(widths):
    with pytest.raises(ConfigError, match=r"dpt\."):
        DptWidths(**widths)


def test_the_rope_base_is_read_from_its_name():
    assert NetworkConfig(pos_embed="RoPE10000").rope_base == 10_000.0


def test_reading_a_configuration_does_not_import_torch():
    code = "import sys; import ttt3r_ros.model.network.config; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0
