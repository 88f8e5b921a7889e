# SPDX-License-Identifier: Apache-2.0
"""A stream of images shown to a recurrent network, with poses that stay continuous across state resets."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Generic

import numpy as np

from ttt3r_ros.errors import NonFiniteError
from ttt3r_ros.geometry import orthonormalised
from ttt3r_ros.types import Backend, Float64Array, Prediction, StateT, UInt8Array

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sighting:
    """What one image added: a prediction and where its camera was in the session's world."""

    prediction: Prediction
    T_world_camera: Float64Array  # (4, 4); the world is the first camera's optical frame
    segment: int


class StreamingSession(Generic[StateT]):
    """Owns the recurrent state and the pose of the current segment.

    A state forgets with time, so it is begun anew every ``reset_interval`` frames (0: never). The frame that
    ends a segment is shown again as the first of the next one, whose world therefore is that frame's camera.
    A frame that cannot open a segment does not end one either: the next frame then tries.
    """

    def __init__(self, backend: Backend[StateT], reset_interval: int = 0) -> None:
        self._backend = backend
        self._reset_interval = reset_interval
        self.restart()

    def restart(self) -> None:
        """Forget everything; the next image opens a new world."""
        self._state = self._backend.initial_state()
        self._T_world_segment: Float64Array = np.eye(4)
        self._segment = 0
        self._frames = 0  # since the last reset

    @property
    def segment(self) -> int:
        """Return how many state resets there were."""
        return self._segment

    @property
    def state(self) -> StateT:
        """Return the state that the next image will meet."""
        return self._state

    def step(self, rgb: UInt8Array) -> Sighting:
        """Show one image (H, W, 3).

        Raises:
            NonFiniteError: the network's answer was not finite; the session is as it was before.
        """
        prediction, self._state = self._backend.step(rgb, self._state)
        T_world_camera = self._T_world_segment @ prediction.T_segment_camera
        sighting = Sighting(prediction, T_world_camera, self._segment)
        self._frames += 1
        if self._reset_interval and self._frames >= self._reset_interval:
            self._begin_segment(rgb, T_world_camera)
        return sighting

    def _begin_segment(self, rgb: UInt8Array, T_world_camera: Float64Array) -> None:
        try:
            # Its pose in the new segment is the identity by definition, so the prediction is not used.
            _, state = self._backend.step(rgb, self._backend.initial_state())
        except NonFiniteError as error:
            logger.warning(
                "segment %d goes on: the frame cannot open a new one: %s", self._segment, error
            )
            return
        self._state = state
        self._T_world_segment = orthonormalised(T_world_camera)
        self._segment += 1
        logger.info("state reset after %d frames; segment %d begins", self._frames, self._segment)
        self._frames = 0
