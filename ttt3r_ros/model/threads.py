# SPDX-License-Identifier: Apache-2.0
"""How many processor threads torch computes with."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def set_threads(count: int) -> None:
    """Limit the processor threads of torch, process-wide; 0 leaves them alone."""
    if count:
        torch.set_num_threads(count)


@contextmanager
def alone() -> Iterator[None]:
    """Compute on the calling thread alone.

    Each thread that computes with others keeps them to itself for good, and where there are more threads than cores
    OpenMP lets none of them spin. So who loads a network for another thread to run leaves none behind.
    """
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)
