# SPDX-License-Identifier: Apache-2.0
"""A short video whose frames differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

COUNT, RATE_HZ = 12, 25.0


def pixels(k: int) -> np.ndarray:
    """A pattern that differs from frame to frame and is not small when compressed."""
    coarse = np.random.default_rng(k).integers(0, 256, (12, 16, 3), np.uint8)
    return cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_NEAREST)


def write_video(path: Path, codec: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), RATE_HZ, (64, 48))
    assert writer.isOpened()
    for k in range(COUNT):
        writer.write(pixels(k))
    writer.release()
    return path
