# SPDX-License-Identifier: Apache-2.0
"""Number of CPU threads that torch uses."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ttt3r_ros.model.network.config import NetworkConfig

_DEFAULT_THREADS = torch.get_num_threads()
_MIN_WIDE_CHANNELS = 512


def set_threads(count: int) -> None:
    """Set the number of CPU threads of torch, process-wide; 0: torch's default."""
    torch.set_num_threads(count or _DEFAULT_THREADS)


def is_narrow(network: NetworkConfig) -> bool:
    """Return whether a network's operations are so short that dispatch takes a large part of the CPU time."""
    return network.enc_embed_dim < _MIN_WIDE_CHANNELS


def configure_threads(count: int) -> bool:
    """Set the CPU threads of a narrow network, process-wide; return whether two operations should run in parallel.

    Splitting a short operation costs more than it saves when one of the threads is delayed. With ``count`` 0 and
    two or more cores each operation therefore gets one thread, and independent operations run in parallel.
    """
    if count or _DEFAULT_THREADS == 1:
        set_threads(count)
        return False
    torch.set_num_threads(1)
    return True


@contextmanager
def single_threaded() -> Iterator[None]:
    """Restrict torch to the calling thread.

    OpenMP keeps one worker pool per calling thread, and does not let threads spin when there are more threads than
    cores. Loading a network within this context leaves no idle pool behind if another thread runs the network.
    """
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)
