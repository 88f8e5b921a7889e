# SPDX-License-Identifier: Apache-2.0
"""Checks of single values of a network configuration, which may come from a hostile file."""

from __future__ import annotations

import math
import re
from typing import NoReturn

from ttt3r_ros.errors import ConfigError

ModeBounds = tuple[str, float, float]

_MAX_ECHO = 80
# Above any real network, and low enough to build one from a hostile configuration on the meta device.
_MAX_COUNT, MAX_MLP_RATIO, _MAX_NUMBER = 2**20, 64, 2**53
_MAX_COUNTS = {"enc_depth": 1000, "dec_depth": 1000, "ray_enc_depth": 1000, "patch_size": 1024}
_ROPE = re.compile(r"RoPE(\d+(?:\.\d+)?)")


def raise_invalid(name: str, value: object, expected: str) -> NoReturn:
    """Raise `ConfigError` with the name, the value and the expected value."""
    msg = f"{name} is {echo(value)}; expected {expected}"
    raise ConfigError(msg)


def echo(value: object) -> str:
    """Return a value for a message, shortened to one line of bounded length."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # integers of thousands of digits, deep nesting
        return f"a huge {type(value).__name__}"
    return text if len(text) <= _MAX_ECHO else text[:_MAX_ECHO] + "..."


def is_number(value: object) -> bool:
    """Return whether a value is a float or an integer that a float represents exactly."""
    # Larger integers cannot be converted to float exactly.
    return isinstance(value, float) or (type(value) is int and abs(value) <= _MAX_NUMBER)


def check_count(name: str, value: object) -> None:
    """Raise `ConfigError` unless the value is a positive integer below the limit of its name."""
    limit = _MAX_COUNTS.get(name, _MAX_COUNT)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
        raise_invalid(name, value, f"a positive integer up to {limit}")


def check_mode_bounds(name: str, value: object, kinds: tuple[str, ...]) -> ModeBounds:
    """Return (mode, minimum, maximum) with one of the modes; raise `ConfigError` on any other value."""
    expected = f"(mode, minimum, maximum) with a mode of {', '.join(map(repr, kinds))}"
    if not isinstance(value, tuple) or len(value) != 3 or value[0] not in kinds:
        raise_invalid(name, value, expected)
    kind, low, high = value
    if not (is_number(low) and is_number(high) and low < high):
        raise_invalid(name, value, expected + " and minimum < maximum")
    return kind, low, high


def check_rope_heads(width_name: str, width: int, heads_name: str, heads: int) -> None:
    """Raise `ConfigError` unless the width divides into heads of 4n channels."""
    # RoPE splits each head into rows and columns, and both into pairs.
    if width % heads or (width // heads) % 4:
        expected = (
            f"a multiple of {4 * heads} (4 x {heads_name} {heads}), as RoPE needs heads of 4n channels"
        )
        raise_invalid(width_name, width, expected)


def parse_rope_base(pos_embed: object) -> float:
    """Return the base of 'RoPE<base>'; raise `ConfigError` on any other value."""
    match = _ROPE.fullmatch(pos_embed) if isinstance(pos_embed, str) else None
    base = float(match[1]) if match else 0.0
    if not 0.0 < base < math.inf:
        raise_invalid("pos_embed", pos_embed, "'RoPE' followed by its positive base, such as 'RoPE100'")
    return base
