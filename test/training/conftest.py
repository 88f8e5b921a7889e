# SPDX-License-Identifier: Apache-2.0
"""Small clips, made once."""

from __future__ import annotations

import pytest

from training.sequences import Clips, Recipe, make_clips
from training.textures import TextureBank

RECIPE = Recipe(
    width=80, height=56, frames=4, styles=(("handheld", 1.0),), moving_share=0.0, smooth=False
)


@pytest.fixture(scope="session")
def bank() -> TextureBank:
    return TextureBank.make(seed=5, per_material=2)


@pytest.fixture(scope="session")
def clips(bank: TextureBank) -> Clips:
    return make_clips((3, 1), 16, RECIPE, bank)
