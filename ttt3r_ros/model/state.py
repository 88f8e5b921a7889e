# SPDX-License-Identifier: Apache-2.0
"""What the network remembers between images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
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
