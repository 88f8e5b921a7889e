# SPDX-License-Identifier: Apache-2.0
"""Two-dimensional rotary position embedding (rows in the first half of the channels, columns in the second)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class RotaryTable(NamedTuple):
    """Rotation factors (N, D) of a set of positions for heads of D channels.

    Each half of the channels consists of u and v: u becomes u cos - v sin, v becomes v cos + u sin.
    """

    cos: Tensor
    sin: Tensor  # negated for v


def rotary_table(
    positions: Tensor, head_dim: int, base: float, dtype: torch.dtype = torch.float32
) -> RotaryTable:
    """Compute the factors of integer positions (N, 2); the position -1 is a negative angle."""
    quarter = head_dim // 4
    frequencies = base ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = positions.to("cpu", torch.float64)[:, :, None] * frequencies  # (N, 2, D/4)
    cos, sin = angles.cos(), angles.sin()
    factors = (torch.cat((cos, cos), dim=-1).flatten(1), torch.cat((-sin, sin), dim=-1).flatten(1))
    return RotaryTable(*(factor.to(positions.device, dtype) for factor in factors))


def rotate(x: Tensor, table: RotaryTable | None) -> Tensor:
    """Rotate queries or keys (..., heads, N, D); return them unchanged without a table."""
    if table is None:
        return x
    u_row, v_row, u_column, v_column = x.chunk(4, dim=-1)
    swapped = torch.cat((v_row, u_row, v_column, u_column), dim=-1)
    # A conversion under autocast only, which makes queries and keys of a float32 network 16 bits wide.
    return torch.addcmul(x * table.cos.to(x.dtype), swapped, table.sin.to(x.dtype))


def grid_positions(rows: int, columns: int, device: torch.device | None = None) -> Tensor:
    """Return (row, column) of every patch, row-major, (rows * columns, 2)."""
    y, x = torch.meshgrid(
        torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"
    )
    return torch.stack((y, x), dim=-1).reshape(-1, 2)


def state_positions(count: int, layout: str) -> Tensor:
    """Return the positions of the state tokens (count, 2): on an even-width square grid ('2d') or (i, i) ('1d')."""
    index = torch.arange(count)
    if layout == "1d":
        return torch.stack((index, index), dim=-1)
    width = int(count**0.5)
    width += width % 2
    return torch.stack((index // width, index % width), dim=-1)
