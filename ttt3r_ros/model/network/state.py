# SPDX-License-Identifier: Apache-2.0
"""What the network remembers between images."""

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
    """The network's whole memory of a stream; a value, so that keeping one is keeping a snapshot."""

    tokens: Tensor  # (B, S, C)
    memory: Tensor  # (B, M, 2C) the pose memory
    fresh: Tensor  # (B,) bool: nothing has been shown yet

    def is_finite_sync(self) -> bool:
        """Tell whether no NaN or infinity got in; waits for the device."""
        return bool(torch.isfinite(self.tokens).all() & torch.isfinite(self.memory).all())

    def select(self, index: int) -> RecurrentState:
        """Return the state of one stream of the batch, itself a batch of one."""
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
    """Return the state that `arrays_sync` gave, on the device of ``like``; the arrays are copied.

    Raises:
        SourceError: names, types or shapes differ from those of ``like``, or a value is NaN or infinite.
    """
    found, expected = _layout(arrays), _layout(like.arrays_sync())
    if found != expected:
        msg = f"recurrent state has {_listed(found)}; expected {_listed(expected)}"
        raise SourceError(msg)
    for name, array in arrays.items():
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            msg = f"recurrent state has {bad} values of NaN or infinity in {name}; expected none"
            raise SourceError(msg)
    device = like.tokens.device
    return RecurrentState(**{name: torch.tensor(array, device=device) for name, array in arrays.items()})


def _layout(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    return {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()}


def _listed(layout: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {form}" for name, form in sorted(layout.items())) or "nothing"
