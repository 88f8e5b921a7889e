# SPDX-License-Identifier: Apache-2.0
"""Clips that take milliseconds."""

from __future__ import annotations

from training.sequences import Recipe

RECIPE = Recipe(
    width=80, height=56, frames=4, styles=(("handheld", 1.0),), moving_share=0.0, smooth=False
)
