# SPDX-License-Identifier: Apache-2.0
"""What the small parts of a pipeline remember, as plain values that JSON can carry, to the last bit."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from ttt3r_ros.errors import SourceError

_OWN = ("ttt3r_ros.odometry.", "ttt3r_ros.mapping.", "ttt3r_ros.pipeline.")
_PLAIN = (bool, int, float, str, type(None))


def memory_of(part: object) -> dict[str, Any]:
    """Return the fields of a part by name; settings, which the one that goes on has itself, are left out."""
    return {name: _packed(value) for name, value in vars(part).items() if _is_memory(value)}


def remember(part: object, memory: dict[str, Any]) -> None:
    """Give a part the fields that `memory_of` returned for one of its kind.

    Raises:
        SourceError: they are those of another kind of part, or damaged.
    """
    own = {name for name, value in vars(part).items() if _is_memory(value)}
    if set(memory) != own:
        msg = f"the saved {type(part).__name__} has {', '.join(sorted(memory))}; expected {', '.join(sorted(own))}"
        raise SourceError(msg)
    for name, packed in memory.items():
        if isinstance(packed, dict) and "part" in packed:
            remember(getattr(part, name), packed["part"])
        else:
            setattr(part, name, _unpacked(packed))


def _is_memory(value: object) -> bool:
    return isinstance(value, (*_PLAIN, np.ndarray, list, tuple)) or _is_part(value)


def _is_part(value: object) -> bool:
    return type(value).__module__.startswith(_OWN) and hasattr(value, "__dict__")


def _packed(value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:  # an image: shorter than its numbers
        return {"image": base64.b64encode(value.tobytes()).decode("ascii"), "shape": list(value.shape)}
    if isinstance(value, np.ndarray):
        return {"array": value.astype(np.float64).tolist()}
    if isinstance(value, list):
        return {"list": [_packed(entry) for entry in value]}
    if isinstance(value, tuple):
        return {"tuple": [_packed(entry) for entry in value]}
    return {"part": memory_of(value)}


def _unpacked(packed: Any) -> Any:
    if isinstance(packed, _PLAIN):
        return packed
    match packed:
        case {"array": values}:
            return np.array(values, np.float64)
        case {"image": text, "shape": shape}:
            return np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape)
        case {"list": entries}:
            return [_unpacked(entry) for entry in entries]
        case {"tuple": entries}:
            return tuple(_unpacked(entry) for entry in entries)
    msg = f"the saved run holds {packed!r} where a value was expected"
    raise SourceError(msg)
