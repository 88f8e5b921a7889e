# SPDX-License-Identifier: Apache-2.0
"""How much of the proposed state is taken over, per state token: the one point where TTT3R differs from CUT3R.

A rule is a pure function of `UpdateInputs`; a new one is a function and an entry in `UPDATE_RULES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ttt3r_ros.errors import ConfigError


@dataclass(frozen=True)
class UpdateInputs:
    """What a rule may look at."""

    logit: Tensor  # (B, S) mean pre-softmax logit of the state's cross-attention to the image
    proposed: Tensor  # (B, S, C)
    previous: Tensor  # (B, S, C)


UpdateRule = Callable[[UpdateInputs], Tensor]  # -> (B, S) in [0, 1]


def cut3r(inputs: UpdateInputs) -> Tensor:
    """Replace the whole state."""
    return torch.ones_like(inputs.logit)


def ttt3r(inputs: UpdateInputs) -> Tensor:
    """Learn from the image as much as the state attends to it (arXiv 2509.26645)."""
    return torch.sigmoid(inputs.logit)


UPDATE_RULES: dict[str, UpdateRule] = {"cut3r": cut3r, "ttt3r": ttt3r}


def update_rule(name: str) -> UpdateRule:
    """Return the rule of that name.

    Raises:
        ConfigError: there is no such rule.
    """
    if name not in UPDATE_RULES:
        msg = f"update_rule '{name}' is not one of {', '.join(UPDATE_RULES)}"
        raise ConfigError(msg)
    return UPDATE_RULES[name]
