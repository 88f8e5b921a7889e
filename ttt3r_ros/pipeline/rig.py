# SPDX-License-Identifier: Apache-2.0
"""Rig: several cameras on one rigid body that share one network state; their baselines measure the scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.backend import StateT
from ttt3r_ros.geometry import se3_inverse
from ttt3r_ros.odometry.pose_integrator import BodyPose
from ttt3r_ros.pipeline.reconstructor import PlacedFrame, Reconstructor
from ttt3r_ros.state_dict import StateReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.backend import Backend
    from ttt3r_ros.config import Config
    from ttt3r_ros.odometry.sensor_context import SensorContext
    from ttt3r_ros.odometry.session import FrameEstimate
    from ttt3r_ros.state_dict import StateDict, Stateful
    from ttt3r_ros.types import Float64Array, Frame, Update

_SYNCHRONIZED_NS = 20_000_000  # frames closer in time than this count as simultaneous
_MIN_BASELINE_M = 0.02  # shorter baselines do not measure the scale


@dataclass(frozen=True)
class _ReferenceFrame:
    """Newest frame of the reference camera, from which the pose of the body follows."""

    stamp_ns: int
    T_odom_base: Float64Array  # (4, 4)
    T_base_camera: Float64Array  # (4, 4)
    T_world_camera: Float64Array  # (4, 4) in the network's world


class ReferenceCamera:
    """The camera whose frames move the body: the first one after a reset."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Let the camera of the next frame become the reference camera."""
        self.camera_frame: str | None = None
        self.frame: _ReferenceFrame | None = None

    def update(self, update: Update, T_world_camera: Float64Array) -> None:
        """Set the newest frame of the reference camera."""
        self.camera_frame = update.frame.camera_frame
        self.frame = _ReferenceFrame(
            update.frame.stamp_ns, update.T_odom_base, update.T_base_camera, T_world_camera
        )

    def state_dict(self) -> StateDict:
        """Return the camera and its newest frame; empty before the first frame."""
        if self.frame is None or self.camera_frame is None:
            return {}
        return {
            "camera_frame": self.camera_frame,
            "stamp_ns": self.frame.stamp_ns,
            "T_odom_base": self.frame.T_odom_base.copy(),
            "T_base_camera": self.frame.T_base_camera.copy(),
            "T_world_camera": self.frame.T_world_camera.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid; nothing has changed.
        """
        if not state:
            self.reset()
            return
        with StateReader(state, "reference_camera") as read:
            camera_frame, stamp_ns = read.text("camera_frame"), int(read.array("stamp_ns", np.int64, ()))
            T_odom_base, T_base_camera = read.pose("T_odom_base"), read.pose("T_base_camera")
            T_world_camera = read.pose("T_world_camera")
        self.camera_frame = camera_frame
        self.frame = _ReferenceFrame(stamp_ns, T_odom_base, T_base_camera, T_world_camera)


class Rig(Reconstructor[StateT]):
    """Moves the body with its reference camera; the mounts give the poses of the other cameras."""

    def __init__(self, backend: Backend[StateT], config: Config) -> None:
        super().__init__(backend, config)
        self._reference = ReferenceCamera()

    def _place(self, frame: Frame, estimate: FrameEstimate, context: SensorContext) -> PlacedFrame:
        """Return the placement of a frame of any camera of the rig."""
        reference = self._reference.frame
        if reference is None or self.is_reference_camera(frame):
            placed = super()._place(frame, estimate, context)
            self._reference.update(placed.update, estimate.T_world_camera)
            return placed
        if context.T_base_camera is not None and _is_synchronized(frame, reference):
            self._measure_scale(reference, estimate, context.T_base_camera)
        update = self._create_update(
            frame,
            estimate,
            context,
            self._compose_pose(reference, frame, estimate, context.T_base_camera),
            self.scale_correction.scale,
            self._estimate_intrinsics(frame, estimate),
        )
        if self._odometry is None:
            self.scale_correction.on_state_reset(estimate.segment_scale_ratio)
        return PlacedFrame(update, moves_body=False)

    def drop_last(self) -> None:
        """Discard the last frames; the camera of the next frame becomes the reference camera."""
        super().drop_last()
        self._reference.reset()  # its frame belongs to another world of the network

    def is_reference_camera(self, frame: Frame) -> bool:
        """Return whether the pose of the body follows from the camera of this frame."""
        return frame.camera_frame == self._reference.camera_frame

    def components(self) -> dict[str, Stateful]:
        """Return the stateful components by their names in the state dict."""
        return {**super().components(), "reference_camera": self._reference}

    def _compose_pose(
        self,
        reference: _ReferenceFrame,
        frame: Frame,
        estimate: FrameEstimate,
        T_base_camera: Float64Array | None,
    ) -> BodyPose:
        """Return the poses of a frame of another camera."""
        if T_base_camera is not None and _is_synchronized(frame, reference):
            T_odom_base = reference.T_odom_base
        else:  # the body has moved since the reference frame, by the motion in the network's world
            T_reference_camera = se3_inverse(reference.T_world_camera) @ estimate.T_world_camera
            T_reference_camera[:3, 3] *= self.scale_correction.scale
            T_base_camera = np.eye(4) if T_base_camera is None else T_base_camera
            T_odom_base = (
                reference.T_odom_base
                @ reference.T_base_camera
                @ T_reference_camera
                @ se3_inverse(T_base_camera)
            )
        return BodyPose(self.pose_integrator.T_map_odom, T_odom_base, T_base_camera, np.eye(4))

    def _measure_scale(
        self, reference: _ReferenceFrame, estimate: FrameEstimate, T_base_camera: Float64Array
    ) -> None:
        """Compare the baseline from the reference camera by the mounts with the predicted one."""
        baseline_m = np.linalg.norm(T_base_camera[:3, 3] - reference.T_base_camera[:3, 3])
        T_reference_camera = se3_inverse(reference.T_world_camera) @ estimate.T_world_camera
        predicted = np.linalg.norm(T_reference_camera[:3, 3])
        if baseline_m >= _MIN_BASELINE_M and predicted > 0.0:
            self.scale_correction.update_from_baseline(float(baseline_m / predicted))


def _is_synchronized(frame: Frame, reference: _ReferenceFrame) -> bool:
    return abs(frame.stamp_ns - reference.stamp_ns) < _SYNCHRONIZED_NS
