# SPDX-License-Identifier: Apache-2.0
"""Small clips, made once; one thread, because small matrices gain nothing from more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from small_recipe import RECIPE

from training.sequences import Clips, make_clips
from training.textures import TextureBank

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def bank() -> TextureBank:
    return TextureBank.make(seed=5, per_material=2)


@pytest.fixture(scope="session")
def clips(bank: TextureBank) -> Clips:
    return make_clips((3, 1), 16, RECIPE, bank)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
