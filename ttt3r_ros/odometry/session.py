# SPDX-License-Identifier: Apache-2.0
"""A stream of images shown to a recurrent network, with poses that stay continuous across state resets."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic

import numpy as np

from ttt3r_ros.backend import Backend, StateT, state_arrays, state_from_arrays
from ttt3r_ros.errors import NonFiniteError
from ttt3r_ros.geometry import orthonormalize
from ttt3r_ros.odometry.scale_estimation import depth_ratio

if TYPE_CHECKING:
    from ttt3r_ros.types import Float64Array, Prediction, UInt8Array

logger = logging.getLogger(__name__)

_SHORT_SEGMENT = 50  # frames; resets more often than this are routine and logged for debugging only


@dataclass(frozen=True)
class FrameEstimate:
    """What one image added: a prediction and where its camera was in the session's world."""

    prediction: Prediction
    T_world_camera: Float64Array  # (4, 4); the world is the first camera's optical frame
    segment: int
    # Depths of the ended segment over those of the one that this image opened; None where it opened none.
    segment_scale_ratio: float | None = None
    landmarks: int = 0  # followed corners that tell where its camera was; 0: the network alone does


class StreamingSession(Generic[StateT]):
    """Owns the recurrent state and the pose of the current segment.

    A state forgets with time, so it is begun anew every ``reset_interval`` frames (0: never). The frame that
    ends a segment is shown again as the first of the next one, whose world therefore is that frame's camera.
    A frame that cannot open a segment does not end one either: the next frame then tries.
    """

    def __init__(self, backend: Backend[StateT], reset_interval: int = 0) -> None:
        self._backend = backend
        self._reset_interval = reset_interval
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next image opens a new world."""
        self._state = self._backend.initial_state()
        self._T_world_segment: Float64Array = np.eye(4)
        self._T_world_camera: Float64Array = np.eye(4)
        self._segment = 0
        self._frames = 0  # since the last reset

    @property
    def segment(self) -> int:
        """Return how many state resets there were."""
        return self._segment

    @property
    def frames_in_segment(self) -> int:
        """Return how many images the state has seen since the last reset."""
        return self._frames

    @property
    def state(self) -> StateT:
        """Return the state that the next image will meet."""
        return self._state

    @property
    def weights_id(self) -> str:
        """Return which weights the state belongs to."""
        return self._backend.weights_id

    def step(self, rgb: UInt8Array) -> FrameEstimate:
        """Show one image (H, W, 3).

        Raises:
            NonFiniteError: the network's answer was not finite; the session is as it was before.
        """
        return self.commit(rgb, *self._backend.step(rgb, self._state))

    def commit(self, rgb: UInt8Array, prediction: Prediction, state: StateT) -> FrameEstimate:
        """Take in the network's answer to an image shown to `state`, and the state after it."""
        self._state = state
        self._T_world_camera = self._T_world_segment @ prediction.T_segment_camera
        estimate = FrameEstimate(prediction, self._T_world_camera, self._segment)
        self._frames += 1
        if self._reset_interval and self._frames >= self._reset_interval:
            opening = self._begin_segment(rgb)
            if opening is not None:
                return replace(estimate, segment_scale_ratio=_segment_scale_ratio(prediction, opening))
        return estimate

    def _begin_segment(self, rgb: UInt8Array) -> Prediction | None:
        try:
            # Its pose in the new segment is the identity by definition; its depths tell the change of scale.
            opening, state = self._backend.step(rgb, self._backend.initial_state())
        except NonFiniteError as error:
            logger.warning(
                "segment %d goes on: the frame cannot open a new one: %s", self._segment, error
            )
            return None
        self._state = state
        self._T_world_segment = orthonormalize(self._T_world_camera)
        self._segment += 1
        routine = self._reset_interval < _SHORT_SEGMENT
        logger.log(
            logging.DEBUG if routine else logging.INFO,
            "state reset after %d frames; segment %d begins", self._frames, self._segment,
        )  # fmt: skip
        self._frames = 0
        return opening

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return all of the session as arrays."""
        return {
            **state_arrays(self._backend, self._state),
            "T_world_segment": self._T_world_segment,
            "T_world_camera": self._T_world_camera,
            "counts": np.array([self._segment, self._frames]),
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> Float64Array:
        """Go on from a snapshot; return T_world_camera (4, 4) of its last image.

        Raises:
            SourceError: it does not fit this network; the session is as it was before.
        """
        arrays = dict(arrays)
        T_world_segment, T_world_camera = arrays.pop("T_world_segment"), arrays.pop("T_world_camera")
        segment, frames = arrays.pop("counts").tolist()
        self._state = state_from_arrays(self._backend, arrays)
        self._T_world_segment, self._T_world_camera = T_world_segment, T_world_camera
        self._segment, self._frames = segment, frames
        return self._T_world_camera


def _segment_scale_ratio(ended: Prediction, opening: Prediction) -> float | None:
    return depth_ratio(
        ended.points_camera[..., 2],
        opening.points_camera[..., 2],
        np.minimum(ended.confidence, opening.confidence),
    )
