# SPDX-License-Identifier: Apache-2.0
"""How many processor threads torch computes with, and what they share."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ttt3r_ros.model.network.config import NetworkConfig

_CORES = torch.get_num_threads()  # that torch would use by itself
_WIDE = 512  # channels


def set_threads(count: int) -> None:
    """Give torch so many processor threads, process-wide; 0: as many as it would use by itself."""
    torch.set_num_threads(count or _CORES)


def is_narrow(network: NetworkConfig) -> bool:
    """Tell whether a network's operations are so short that a processor is busy with starting them, too."""
    return network.enc_embed_dim < _WIDE


def share_out(count: int) -> bool:
    """Give the threads to a narrow network, process-wide; return whether two parts of it are to run at once.

    To share a short operation costs more than it saves as soon as one thread is kept from its half of it. So with 0,
    where there are two cores, each operation has one thread, and parts that do not need each other run at once.
    """
    if count or _CORES == 1:
        set_threads(count)
        return False
    torch.set_num_threads(1)
    return True


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
