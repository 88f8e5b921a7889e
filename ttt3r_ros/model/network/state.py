# SPDX-License-Identifier: Apache-2.0
"""The recurrent state of the network."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ttt3r_ros.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class RecurrentState:
    """The recurrent state of one or more image streams; immutable."""

    tokens: Tensor  # (B, S, C)
    memory: Tensor  # (B, M, 2C) the pose memory
    fresh: Tensor  # (B,) bool: before the first image

    def is_finite_sync(self) -> bool:
        """Return whether there is no NaN or infinity; waits for the device."""
        return bool(torch.isfinite(self.tokens).all() & torch.isfinite(self.memory).all())

    def select(self, index: int) -> RecurrentState:
        """Return the state of one stream as a batch of one."""
        one = slice(index, index + 1)
        return RecurrentState(self.tokens[one], self.memory[one], self.fresh[one])

    def arrays_sync(self) -> dict[str, NDArray[Any]]:
        """Return copies of all fields by name; waits for the device."""
        return {field.name: getattr(self, field.name).cpu().numpy().copy() for field in fields(self)}


def concatenate(states: Sequence[RecurrentState]) -> RecurrentState:
    """Return the states of several streams as one batch; always copies."""
    return RecurrentState(
        tokens=torch.cat([state.tokens for state in states]),
        memory=torch.cat([state.memory for state in states]),
        fresh=torch.cat([state.fresh for state in states]),
    )


def state_from_arrays(arrays: Mapping[str, NDArray[Any]], like: RecurrentState) -> RecurrentState:
    """Return a state from the arrays of `arrays_sync`, copied to the device of ``like``.

    Raises:
        SourceError: names, types or shapes differ from those of ``like``, or a value is NaN or infinite.
    """
    found, expected = _array_types(arrays), _array_types(like.arrays_sync())
    if found != expected:
        msg = f"recurrent state has {_format_types(found)}; expected {_format_types(expected)}"
        raise SourceError(msg)
    for name, array in arrays.items():
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            msg = f"recurrent state has {bad} values of NaN or infinity in {name}; expected none"
            raise SourceError(msg)
    device = like.tokens.device
    return RecurrentState(**{name: torch.tensor(array, device=device) for name, array in arrays.items()})


def _array_types(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    return {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()}


def _format_types(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {form}" for name, form in sorted(types.items())) or "nothing"
