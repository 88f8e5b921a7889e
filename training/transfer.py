# SPDX-License-Identifier: Apache-2.0
"""Moving tensors to a device without waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def to_device(value: Tensor, device: str) -> Tensor:
    """Return ``value`` on a device; a copy to a GPU is queued behind its work, not waited for."""
    if value.device.type == "cpu" and device.startswith("cuda"):
        return value.pin_memory().to(device, non_blocking=True)
    return value.to(device)
