# SPDX-License-Identifier: Apache-2.0
"""Peak memory of a device: allocations of CUDA, or the resident memory of this process."""

from __future__ import annotations

from pathlib import Path

import torch


def reset_peak(device: str) -> float:
    """Start a new peak; return the current memory [MiB]."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _process_mib("VmRSS")


def peak_mib(device: str) -> float:
    """Return the largest memory since the last `reset_peak` [MiB]."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    return _process_mib("VmHWM")


def _process_mib(entry: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{entry}:")[1].split()[0]) / 1024
