# SPDX-License-Identifier: Apache-2.0
"""Compute devices: resolution of a device name, count and memory."""

from __future__ import annotations

import torch

from ttt3r_ros.errors import DeviceError


def resolve_device(requested: str) -> str:
    """Return the name of the device to use; only 'auto' falls back to the CPU.

    Raises:
        DeviceError: the device is unknown or absent.
    """
    cuda = torch.cuda.is_available()
    if requested == "auto":
        return "cuda" if cuda else "cpu"
    try:
        device = torch.device(requested)
    except RuntimeError as error:
        msg = f"device '{requested}' is not one of auto, cpu, cuda, cuda:N"
        raise DeviceError(msg) from error
    if device.type not in ("cpu", "cuda"):
        msg = f"device '{requested}' is not one of auto, cpu, cuda, cuda:N"
        raise DeviceError(msg)
    count = cuda_device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        msg = f"device '{requested}' is not available: torch finds {count} CUDA devices; 'auto' can use the CPU"
        raise DeviceError(msg)
    return requested


def cuda_device_count() -> int:
    """Return the number of CUDA devices."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def reserved_memory_bytes(device: str) -> int:
    """Return the memory that torch has reserved on a CUDA device; 0 for the CPU."""
    return int(torch.cuda.memory_reserved(device)) if device.startswith("cuda") else 0


def device_memory_facts(device: str) -> dict[str, str]:
    """Return the memory reserved on a CUDA device [MiB], for diagnostics; empty for the CPU."""
    reserved = reserved_memory_bytes(device)
    return {"cuda_memory_mib": f"{reserved / 2**20:.0f}"} if reserved else {}
