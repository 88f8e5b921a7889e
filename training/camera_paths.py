# SPDX-License-Identifier: Apache-2.0
"""Smooth camera motions, many at a time: handheld, driving, and flying.

The world is z-up. A path is a function of time, so that frames may be taken from it at any spacing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# x forward, y left, z up of a body; x right, y down, z forward of an optical frame (REP-103).
R_BODY_OPTICAL = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
TREMOR_HZ = (0.5, 0.8, 1.1, 1.4)


@dataclass(frozen=True)
class Style:
    """Ranges that a kind of motion is drawn from: lengths in meters, angles in degrees, times in seconds."""

    room: tuple[tuple[float, float], ...]  # inner size along x, y, z
    height: tuple[float, float]
    sway: tuple[tuple[float, float], ...]  # amplitude of x, y, z
    gaze: tuple[tuple[float, float], ...]  # amplitude of yaw, pitch, roll
    pitch: tuple[float, float]  # mean, positive down
    period: tuple[float, float]
    speed: tuple[float, float]  # forward
    tremor: tuple[float, float]  # [m] and [deg]


STYLES = {
    "handheld": Style(
        room=((3.6, 7.5), (3.6, 6.0), (2.3, 3.1)), height=(1.0, 1.75),
        sway=((0.1, 0.8), (0.1, 0.7), (0.0, 0.15)), gaze=((3.0, 45.0), (1.0, 10.0), (0.5, 4.0)),
        pitch=(0.0, 22.0), period=(7.0, 16.0), speed=(0.0, 0.0), tremor=(0.006, 0.4),
    ),
    "driving": Style(
        room=((24.0, 40.0), (7.0, 14.0), (4.0, 8.0)), height=(0.4, 1.8),
        sway=((0.0, 0.0), (0.1, 0.8), (0.0, 0.0)), gaze=((1.0, 12.0), (0.0, 1.0), (0.0, 1.0)),
        pitch=(-3.0, 5.0), period=(6.0, 14.0), speed=(0.5, 4.0), tremor=(0.003, 0.15),
    ),
    "flying": Style(
        room=((6.0, 12.0), (6.0, 10.0), (3.0, 6.0)), height=(0.8, 2.4),
        sway=((0.3, 1.6), (0.3, 1.6), (0.1, 0.6)), gaze=((10.0, 60.0), (3.0, 12.0), (2.0, 8.0)),
        pitch=(-8.0, 20.0), period=(5.0, 12.0), speed=(0.0, 0.0), tremor=(0.004, 0.3),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Paths:
    """B paths of one style."""

    start: Tensor  # (B, 6) mean x, y, z [m], yaw, pitch, roll [rad]
    amplitude: Tensor  # (B, 6, K)
    omega: Tensor  # (B, 1, K) [rad/s]
    phase: Tensor  # (B, 6, K)
    speed: Tensor  # (B,) along x [m/s]

    @classmethod
    def draw(cls, rng: torch.Generator, count: int, style: Style) -> Paths:
        """Draw paths around the middle of a room; the mean yaw of one without speed is any."""
        slow = [uniform(rng, (count,), *bounds) for bounds in style.sway]
        slow += [uniform(rng, (count,), *bounds).deg2rad() for bounds in style.gaze]
        scale = torch.tensor([style.tremor[0]] * 3 + [torch.pi / 180 * style.tremor[1]] * 3)
        tremor = scale[:, None] * uniform(rng, (count, 6, len(TREMOR_HZ)), 0.0, 1.0)
        half_turn = 2 * torch.pi / uniform(rng, (count, 1, 1), *style.period)
        shares = uniform(rng, (count, 6, 1), 0.0, 0.35)
        swing = torch.stack(slow, dim=1)[..., None]
        speed = uniform(rng, (count,), *style.speed)
        any_yaw = uniform(rng, (count,), -torch.pi, torch.pi)
        start = torch.stack(
            (
                -0.35 * speed * 8.0, torch.zeros(count), uniform(rng, (count,), *style.height),
                torch.where(speed > 0, 0.1 * any_yaw, any_yaw),
                uniform(rng, (count,), *style.pitch).deg2rad(), torch.zeros(count),
            ),
            dim=1,
        )  # fmt: skip
        fast = torch.tensor(TREMOR_HZ)[None, None] * 2 * torch.pi
        return cls(
            start=start,
            amplitude=torch.cat((swing * (1 - shares), swing * shares, tremor), dim=2),
            omega=torch.cat((half_turn, 2 * half_turn, fast.expand(count, 1, -1)), dim=2),
            phase=uniform(rng, (count, 6, 2 + len(TREMOR_HZ)), 0.0, 2 * torch.pi),
            speed=speed,
        )

    def poses(self, time_s: Tensor) -> Tensor:
        """Return T_world_camera (B, T, 4, 4) of the optical camera at times (B, T)."""
        angle = self.omega[:, None] * time_s[:, :, None, None] + self.phase[:, None]
        values = self.start[:, None] + (self.amplitude[:, None] * angle.sin()).sum(dim=-1)  # (B, T, 6)
        x, y, z, yaw, pitch, roll = values.unbind(dim=-1)
        x = x + self.speed[:, None] * time_s
        T = torch.eye(4).expand(*time_s.shape, 4, 4).clone()
        T[..., :3, :3] = _turn(2, yaw) @ _turn(1, pitch) @ _turn(0, roll) @ R_BODY_OPTICAL
        T[..., :3, 3] = torch.stack((x, y, z), dim=-1)
        return T


def uniform(rng: torch.Generator, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """Draw uniform float32 numbers."""
    return low + (high - low) * torch.rand(shape, generator=rng)


def _turn(axis: int, angle: Tensor) -> Tensor:
    """Return rotations (..., 3, 3) about a coordinate axis."""
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    R = torch.eye(3).expand(*angle.shape, 3, 3).clone()
    R[..., i, i], R[..., j, j] = angle.cos(), angle.cos()
    R[..., i, j], R[..., j, i] = -angle.sin(), angle.sin()
    return R
