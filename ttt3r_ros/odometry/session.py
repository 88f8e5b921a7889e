# SPDX-License-Identifier: Apache-2.0
"""Streaming session: runs a recurrent network on images and keeps its poses continuous across state resets."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic

import numpy as np

from ttt3r_ros.backend import Backend, StateT, state_arrays, state_from_arrays
from ttt3r_ros.errors import NonFiniteError
from ttt3r_ros.geometry import orthonormalize, require_pose
from ttt3r_ros.odometry.scale_estimation import depth_ratio
from ttt3r_ros.state_dict import StateReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.state_dict import StateDict
    from ttt3r_ros.types import Float64Array, Prediction, UInt8Array

logger = logging.getLogger(__name__)

_SHORT_SEGMENT = 50  # frames; more frequent resets are logged at debug level


@dataclass(frozen=True)
class FrameEstimate:
    """Front-end result of one frame."""

    prediction: Prediction
    T_world_camera: Float64Array  # (4, 4); the world is the optical frame of the session's first camera
    segment: int
    # Depths of the ended segment over those of the segment that this frame starts; None if it starts none.
    segment_scale_ratio: float | None = None
    landmarks: int = 0  # inliers that the pose was estimated from; 0: the pose is the network's


class StreamingSession(Generic[StateT]):
    """Owns the recurrent state and the pose of the current segment.

    The network's state degrades over long sequences, so it is reset every ``reset_interval`` frames (0: never). The
    last frame of a segment is also processed as the first of the next one, so the world of the new segment is the
    camera of that frame. If that frame has no finite prediction as a first frame, the segment continues and the next
    frame tries again.
    """

    def __init__(self, backend: Backend[StateT], reset_interval: int = 0) -> None:
        self._backend = backend
        self._reset_interval = reset_interval
        self.reset()

    def reset(self) -> None:
        """Reset state and poses; the next image starts a new world."""
        self._state = self._backend.initial_state()
        self._T_world_segment: Float64Array = np.eye(4)
        self._T_world_camera: Float64Array = np.eye(4)
        self._segment = 0
        self._frames_in_segment = 0
        self._previous: tuple[StateT, Float64Array, Float64Array, int, int] | None = None

    @property
    def segment(self) -> int:
        """Return the number of state resets so far."""
        return self._segment

    @property
    def frames_in_segment(self) -> int:
        """Return the number of frames since the last state reset."""
        return self._frames_in_segment

    @property
    def state(self) -> StateT:
        """Return the recurrent state for the next image."""
        return self._state

    @property
    def T_world_camera(self) -> Float64Array:
        """Return the network's pose (4, 4) of the last frame."""
        return self._T_world_camera

    def step(self, rgb: UInt8Array) -> FrameEstimate:
        """Process one image (H, W, 3).

        Raises:
            NonFiniteError: the prediction is not finite; the session is unchanged.
        """
        return self.commit(rgb, *self._backend.step(rgb, self._state))

    def commit(self, rgb: UInt8Array, prediction: Prediction, state: StateT) -> FrameEstimate:
        """Accept the prediction of an image (H, W, 3) that was processed with `state`, and the state after it.

        Raises:
            NonFiniteError: the pose is not finite or absurd; the session is unchanged.
        """
        T_world_camera = self._T_world_segment @ _require_pose(prediction.T_segment_camera)
        self._previous = self._values()
        self._state = state
        self._T_world_camera = T_world_camera
        estimate = FrameEstimate(prediction, self._T_world_camera, self._segment)
        self._frames_in_segment += 1
        if self._reset_interval and self._frames_in_segment >= self._reset_interval:
            first = self._start_segment(rgb)
            if first is not None:
                return replace(estimate, segment_scale_ratio=_segment_scale_ratio(prediction, first))
        return estimate

    def revert(self) -> None:
        """Discard the last accepted prediction, once: state, segment and pose are those before it."""
        if self._previous is not None:
            (
                self._state, self._T_world_segment, self._T_world_camera,
                self._segment, self._frames_in_segment,
            ) = self._previous  # fmt: skip
            self._previous = None

    def _values(self) -> tuple[StateT, Float64Array, Float64Array, int, int]:
        """Return all values; none of them is ever changed in place."""
        return (
            self._state, self._T_world_segment, self._T_world_camera,
            self._segment, self._frames_in_segment,
        )  # fmt: skip

    def _start_segment(self, rgb: UInt8Array) -> Prediction | None:
        """Reset the state and process an image as the first of a new segment; None if that is not possible."""
        try:
            # The pose in the new segment is the identity by definition; the depths give the change of scale.
            first, state = self._backend.step(rgb, self._backend.initial_state())
        except NonFiniteError as error:
            logger.warning(
                "no state reset at this frame, segment %d continues: %s", self._segment, error
            )
            return None
        self._state = state
        self._T_world_segment = orthonormalize(self._T_world_camera)
        self._segment += 1
        routine = self._reset_interval < _SHORT_SEGMENT
        logger.log(
            logging.DEBUG if routine else logging.INFO,
            "state reset after %d frames; segment %d starts", self._frames_in_segment, self._segment,
        )  # fmt: skip
        self._frames_in_segment = 0
        return first

    def state_dict(self) -> StateDict:
        """Return a copy of the recurrent state and the poses."""
        return {
            "weights_id": self._backend.weights_id,
            "network_state": state_arrays(self._backend, self._state),
            "T_world_segment": self._T_world_segment.copy(),
            "T_world_camera": self._T_world_camera.copy(),
            "segment": self._segment,
            "frames_in_segment": self._frames_in_segment,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid or belongs to other weights; nothing has changed.
        """
        with StateReader(state, "session") as read:
            weights_id = read.text("weights_id")
            read.require(
                weights_id == self._backend.weights_id,
                f"weights_id is {weights_id}; the loaded weights have {self._backend.weights_id}",
            )
            T_world_segment = read.pose("T_world_segment")
            T_world_camera = read.pose("T_world_camera")
            segment, frames_in_segment = read.integer("segment"), read.integer("frames_in_segment")
            network_state = {
                name: np.asarray(value) for name, value in read.group("network_state").items()
            }
        self._state = state_from_arrays(self._backend, network_state)
        self._T_world_segment, self._T_world_camera = T_world_segment, T_world_camera
        self._segment, self._frames_in_segment = segment, frames_in_segment
        self._previous = None


def _require_pose(T_segment_camera: Float64Array) -> Float64Array:
    try:
        return require_pose(T_segment_camera)
    except ValueError as error:
        msg = f"the network's pose is not usable: {error}"
        raise NonFiniteError(msg) from error


def _segment_scale_ratio(last: Prediction, first: Prediction) -> float | None:
    """Return the depths of a segment's last prediction over the next segment's first one, of the same image."""
    return depth_ratio(
        last.points_camera[..., 2],
        first.points_camera[..., 2],
        np.minimum(last.confidence, first.confidence),
    )
