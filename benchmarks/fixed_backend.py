# SPDX-License-Identifier: Apache-2.0
"""A backend with negligible cost: it returns the same full-sized prediction for every image."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import pose_matrix
from ttt3r_ros.model.runtime.preprocessing import InputSize, normalize_image, resize_and_crop
from ttt3r_ros.types import Prediction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.types import UInt8Array

NETWORK = InputSize(long_edge=512)
_CAMERA_HEIGHT_M = 1.2
_WALL_M = 4.0
_FOCAL = 400.0
_STEP_M, _TURN_RAD = 0.002, 0.002


class FixedBackend:
    """Sees a wall and a floor, and walks a step at each image, which it prepares as a network would."""

    reset_interval = 0
    pose_source = "network"
    weights_id = "fixed"

    def __init__(self, source_size: tuple[int, int]) -> None:
        self._answer = room_prediction(source_size)

    def initial_state(self) -> int:
        """Return the number of processed images: 0."""
        return 0

    def step(self, rgb: UInt8Array, state: int) -> tuple[Prediction, int]:
        """Prepare an image (H, W, 3) and return the fixed prediction."""
        started = time.thread_time()
        image = resize_and_crop(rgb, NETWORK.geometry(rgb.shape[1], rgb.shape[0]))
        normalize_image(image)
        timings_s = {"preprocess": time.thread_time() - started}
        turn = _TURN_RAD * state
        T = pose_matrix(np.array([0.0, 0.0, _STEP_M * state, np.cos(turn), 0.0, np.sin(turn), 0.0]))
        return replace(self._answer, T_segment_camera=T, rgb=image, timings_s=timings_s), state + 1

    def state_arrays(self, state: int) -> dict[str, NDArray[Any]]:
        """Return the state as arrays."""
        return {"seen": np.array([state])}

    def state_from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> int:
        """Invert `state_arrays`."""
        return int(arrays["seen"][0])


def room_prediction(source_size: tuple[int, int]) -> Prediction:
    """Return a wavy wall and a floor at the network's size; all points are valid, so that clouds are full."""
    geometry = NETWORK.geometry(*source_size)
    u, v = np.meshgrid(np.arange(geometry.width), np.arange(geometry.height))
    x, y = (u - (geometry.width - 1) / 2) / _FOCAL, (v - (geometry.height - 1) / 2) / _FOCAL
    wall = _WALL_M + 0.2 * np.sin(u / 40.0) * np.cos(v / 30.0)
    depth = np.minimum(wall, np.where(y > 0, _CAMERA_HEIGHT_M / np.maximum(y, 0.1), np.inf))
    points = np.stack((x * depth, y * depth, depth), axis=-1).astype(np.float32)
    confidence = (1.0 + 4.0 * np.random.default_rng(0).random(u.shape)).astype(np.float32)
    rgb = np.zeros((geometry.height, geometry.width, 3), np.uint8)
    return Prediction(points, confidence, np.eye(4), rgb, geometry)
