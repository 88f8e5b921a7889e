# SPDX-License-Identifier: Apache-2.0
"""Update rules: the learning rate per state token, the only difference between TTT3R and CUT3R.

A rule is a pure function of `UpdateInputs`. To add one, add a function and its entry in `UPDATE_RULES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ttt3r_ros.errors import ConfigError


@dataclass(frozen=True)
class UpdateInputs:
    """Inputs of an update rule."""

    logit: Tensor  # (B, S) mean pre-softmax logit of the state's cross-attention to the image
    proposed: Tensor  # (B, S, C) candidate state
    previous: Tensor  # (B, S, C)


UpdateRule = Callable[[UpdateInputs], Tensor]  # -> (B, S) in [0, 1]


def cut3r(inputs: UpdateInputs) -> Tensor:
    """Replace the whole state."""
    return torch.ones_like(inputs.logit)


def ttt3r(inputs: UpdateInputs) -> Tensor:
    """Update each token in proportion to its attention to the image (arXiv 2509.26645)."""
    return torch.sigmoid(inputs.logit)


UPDATE_RULES: dict[str, UpdateRule] = {"cut3r": cut3r, "ttt3r": ttt3r}


def update_rule(name: str) -> UpdateRule:
    """Return the rule of that name.

    Raises:
        ConfigError: the name is unknown.
    """
    if name not in UPDATE_RULES:
        msg = f"update_rule '{name}' is not one of {', '.join(UPDATE_RULES)}"
        raise ConfigError(msg)
    return UPDATE_RULES[name]
