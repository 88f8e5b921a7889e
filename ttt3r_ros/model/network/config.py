# SPDX-License-Identifier: Apache-2.0
"""Network configuration, parsed from a checkpoint's string without executing it."""

from __future__ import annotations

import ast
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeGuard

from ttt3r_ros.errors import CheckpointError, ConfigError
from ttt3r_ros.model.network.config_checks import (
    MAX_MLP_RATIO,
    ModeBounds,
    check_count,
    check_mode_bounds,
    check_rope_heads,
    echo,
    is_number,
    parse_rope_base,
    raise_invalid,
)

_log = logging.getLogger(__name__)

RAY_ENCODER_HEADS = 16  # fixed in the published network, for any width
_MAX_STRING_BYTES = 64 * 1024
_PATCH_EMBEDDINGS = ("PatchEmbedDust3R", "ManyAR_PatchEmbed")  # the same function at inference
# Keys without effect on inference.
_IRRELEVANT = frozenset(
    {"freeze", "landscape_only", "depth_head", "pose_conf_head", "mask_ratio", "patch_embed_cls"}
)
_COUNTS = (
    "enc_embed_dim",
    "enc_depth",
    "enc_num_heads",
    "dec_embed_dim",
    "dec_depth",
    "dec_num_heads",
    "state_dec_num_heads",
    "patch_size",
    "ray_enc_depth",
    "state_size",
    "local_mem_size",
)
_FLAGS = ("norm_im2_in_dec", "rgb_head", "pose_head")
_CHOICES = {
    "state_pe": ("2d", "1d"),  # the published 'none' cannot run
    "head_type": ("dpt", "linear"),
    "output_mode": ("pts3d+pose",),
}


@dataclass(frozen=True)
class DptWidths:
    """Channel counts of a DPT head."""

    feature_dim: int = 256
    last_dim: int = 128
    layer_dims: tuple[int, int, int, int] = (96, 192, 384, 768)

    def __post_init__(self) -> None:
        check_count("dpt.feature_dim", self.feature_dim)
        check_count("dpt.last_dim", self.last_dim)
        if not isinstance(self.layer_dims, tuple) or len(self.layer_dims) != 4:
            raise_invalid("dpt.layer_dims", self.layer_dims, "four widths")
        for width in self.layer_dims:
            check_count("dpt.layer_dims", width)


@dataclass(frozen=True)
class NetworkConfig:
    """Architecture of a network; fields are named as in the published configuration string.

    Two fields are absent from that string: ``dpt``, used by ``head_type='dpt'`` only, and ``memory_mlp_ratio`` of
    the pose memory, which is 4 in the published networks for any ``mlp_ratio``. `load_checkpoint` reads both
    from the tensors' shapes. Raises `ConfigError` on values that no network can be built with.
    """

    enc_embed_dim: int = 768
    enc_depth: int = 12
    enc_num_heads: int = 12
    dec_embed_dim: int = 512
    dec_depth: int = 8
    dec_num_heads: int = 16
    state_dec_num_heads: int = 16
    mlp_ratio: float = 4.0
    patch_size: int = 16
    ray_enc_depth: int = 2
    state_size: int = 768
    state_pe: str = "2d"
    local_mem_size: int = 256
    memory_mlp_ratio: float = 4.0
    pos_embed: str = "RoPE100"
    norm_im2_in_dec: bool = True
    rgb_head: bool = True
    pose_head: bool = True
    head_type: str = "dpt"
    output_mode: str = "pts3d+pose"
    depth_mode: ModeBounds = ("exp", -math.inf, math.inf)
    conf_mode: ModeBounds = ("exp", 1.0, math.inf)
    pose_mode: ModeBounds = ("exp", -math.inf, math.inf)
    img_size: tuple[int, int] = (512, 512)
    dpt: DptWidths = field(default_factory=DptWidths)

    def __post_init__(self) -> None:
        self._check_scalars()
        self._check_modes()
        self._check_widths()

    @property
    def rope_base(self) -> float:
        """Return the base of the rotary position embedding, 100 in the published networks."""
        return parse_rope_base(self.pos_embed)

    @classmethod
    def published_512_dpt(cls) -> NetworkConfig:
        """Return the configuration of the final 512-pixel weights."""
        return cls(
            enc_embed_dim=1024,
            enc_depth=24,
            enc_num_heads=16,
            dec_embed_dim=768,
            dec_depth=12,
            dec_num_heads=12,
        )

    @classmethod
    def published_224_linear(cls) -> NetworkConfig:
        """Return the configuration of the intermediate 224-pixel weights."""
        return replace(cls.published_512_dpt(), head_type="linear", img_size=(224, 224))

    @classmethod
    def from_model_string(cls, text: str) -> NetworkConfig:
        """Parse ``ARCroco3DStereo(ARCroco3DStereoConfig(key=value, ...))`` with literal values.

        Raises `CheckpointError` on any other value. Nothing in the text is executed.
        """
        return cls.from_mapping(_parse_model_string(text))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> NetworkConfig:
        """Return a configuration from JSON-like values; the strings "inf" and "-inf" are infinities."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(str(key) for key in mapping if key not in known | _IRRELEVANT)
        if unknown:
            _log.warning("ignoring unknown network settings: %s", ", ".join(unknown))
        _check_patch_embedding(mapping.get("patch_embed_cls", _PATCH_EMBEDDINGS[0]))
        return cls(**{key: _normalize(key, value) for key, value in mapping.items() if key in known})

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields by name, ``dpt`` as a nested mapping; the inverse of `from_mapping`."""
        return asdict(self)

    def to_json(self) -> str:
        """Return strict JSON; infinities become the strings "inf" and "-inf"."""
        return json.dumps(_without_infinities(self.to_mapping()), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> NetworkConfig:
        """Invert `to_json`; raises `ConfigError` if the text is not such a JSON object."""
        try:
            mapping = json.loads(text)
        except (ValueError, RecursionError) as error:
            msg = f"network configuration is not JSON: {error}; got {echo(text)}"
            raise ConfigError(msg) from error
        if not isinstance(mapping, dict):
            msg = f"network configuration is {echo(text)}; expected a JSON object"
            raise ConfigError(msg)
        return cls.from_mapping(mapping)

    def _check_scalars(self) -> None:
        for name in _COUNTS:
            check_count(name, getattr(self, name))
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise_invalid(name, getattr(self, name), "True or False")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise_invalid(name, getattr(self, name), "one of " + ", ".join(map(repr, choices)))
        if not self.pose_head:
            raise_invalid("pose_head", self.pose_head, "True (this package needs camera poses)")
        for name in ("mlp_ratio", "memory_mlp_ratio"):
            ratio = getattr(self, name)
            if not is_number(ratio) or not 0 < ratio <= MAX_MLP_RATIO:
                raise_invalid(name, ratio, f"a positive number up to {MAX_MLP_RATIO}")
        if not isinstance(self.img_size, tuple) or len(self.img_size) != 2:
            raise_invalid("img_size", self.img_size, "(height, width)")
        for side in self.img_size:
            check_count("img_size", side)
        if not isinstance(self.dpt, DptWidths):
            raise_invalid("dpt", self.dpt, "DptWidths")
        parse_rope_base(self.pos_embed)

    def _check_modes(self) -> None:
        for name in ("depth_mode", "pose_mode"):
            _, low, high = check_mode_bounds(name, getattr(self, name), ("exp", "linear", "square"))
            if (low, high) != (-math.inf, math.inf):
                raise_invalid(
                    name, getattr(self, name), "the bounds -inf, inf; others are not supported"
                )
        kind, low, high = check_mode_bounds("conf_mode", self.conf_mode, ("exp", "sigmoid"))
        if not math.isfinite(low) or (kind == "sigmoid" and not math.isfinite(high)):
            raise_invalid("conf_mode", self.conf_mode, "a finite minimum (and maximum for 'sigmoid')")

    def _check_widths(self) -> None:
        encoder = ("enc_embed_dim", self.enc_embed_dim)
        decoder = ("dec_embed_dim", self.dec_embed_dim)
        check_rope_heads(*encoder, "enc_num_heads", self.enc_num_heads)
        check_rope_heads(*encoder, "ray-map encoder heads", RAY_ENCODER_HEADS)
        check_rope_heads(*decoder, "dec_num_heads", self.dec_num_heads)
        check_rope_heads(*decoder, "state_dec_num_heads", self.state_dec_num_heads)


def _check_patch_embedding(value: object) -> None:
    if value not in _PATCH_EMBEDDINGS:
        raise_invalid("patch_embed_cls", value, "one of " + ", ".join(map(repr, _PATCH_EMBEDDINGS)))


def _normalize(name: str, value: Any) -> Any:
    """Convert JSON lists, numbers and infinities to the types of the fields."""
    if name == "dpt" and isinstance(value, Mapping):
        return _dpt_widths(value)
    if name == "img_size" and isinstance(value, int):
        return (value, value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        infinities = {"inf": math.inf, "-inf": -math.inf}
        return tuple(infinities.get(item, item) if isinstance(item, str) else item for item in value)
    return value


def _dpt_widths(mapping: Mapping[str, Any]) -> DptWidths:
    known = {f.name for f in fields(DptWidths)}
    unknown = sorted(str(key) for key in mapping if key not in known)
    if unknown:
        raise_invalid("dpt", unknown, f"only the keys {sorted(known)}")
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in mapping.items()}
    return DptWidths(**values)


def _without_infinities(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_infinities(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_infinities(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value


def _parse_model_string(text: str) -> dict[str, Any]:
    keywords = _configuration_call(text).keywords
    values: dict[str, Any] = {}
    for keyword in keywords:
        if keyword.arg is None or keyword.arg in values:
            raise _string_error(text, f"argument {keyword.arg or '**'!r} is not allowed or given twice")
        values[keyword.arg] = _argument(text, keyword.arg, keyword.value)
    return values


def _configuration_call(text: str) -> ast.Call:
    if len(text.encode(errors="replace")) > _MAX_STRING_BYTES:
        raise _string_error(text, f"it is longer than {_MAX_STRING_BYTES} bytes")
    try:
        # Line breaks are legal inside the parentheses; surrounding white space is not.
        model = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _string_error(text, f"it does not parse ({type(error).__name__})") from error
    if _is_call(model, "ARCroco3DStereo") and len(model.args) == 1 and not model.keywords:
        configuration = model.args[0]
        if _is_call(configuration, "ARCroco3DStereoConfig") and not configuration.args:
            return configuration
    raise _string_error(text, "it has another form")


def _is_call(node: ast.expr, name: str) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _argument(text: str, name: str, node: ast.expr) -> Any:
    if name == "patch_embed_cls" and isinstance(node, (ast.Name, ast.Attribute)):
        return node.id if isinstance(node, ast.Name) else node.attr
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(_literal(text, name, item) for item in node.elts)
    return _literal(text, name, node)


def _literal(text: str, name: str, node: ast.expr) -> Any:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        if not isinstance(node.operand, ast.UnaryOp):  # a long sequence of signs would exhaust the stack
            value = _literal(text, name, node.operand)
            if is_number(value):
                return -value
    elif isinstance(node, ast.Name) and node.id == "inf":
        return math.inf
    elif isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float, bool, type(None))):
        return node.value
    raise _string_error(text, f"the value of {name} is not a literal")


def _string_error(text: str, reason: str) -> CheckpointError:
    msg = (
        f"the model string cannot be used: {reason}; expected ARCroco3DStereo(ARCroco3DStereoConfig("
        f"key=literal, ...)), got {echo(text)}"
    )
    return CheckpointError(msg)
