# SPDX-License-Identifier: Apache-2.0
"""Several cameras in one rigid body that share one state: their frames interleave, their baselines give meters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.backend import StateT
from ttt3r_ros.geometry import se3_inverse
from ttt3r_ros.odometry.pose_integrator import BodyPose
from ttt3r_ros.odometry.sensor_context import SensorContext
from ttt3r_ros.pipeline.reconstructor import Reconstructor

if TYPE_CHECKING:
    from ttt3r_ros.backend import Backend
    from ttt3r_ros.config import Config
    from ttt3r_ros.odometry.session import FrameEstimate
    from ttt3r_ros.types import Float64Array, Frame, Update

_TOGETHER_NS = 20_000_000  # frames closer in time than this count as taken at once
_SHORTEST_M = 0.02  # a baseline shorter than this says nothing about the scale


class Rig(Reconstructor[StateT]):
    """Moves with its first camera; the others are where their mounts say, and measure the scale."""

    def __init__(self, backend: Backend[StateT], config: Config) -> None:
        super().__init__(backend, config)
        self._leader: str | None = None  # camera_frame of the first camera
        self._led: tuple[Update, Float64Array] | None = (
            None  # its newest frame, and T_world_camera there
        )

    def integrate(
        self, frame: Frame, estimate: FrameEstimate, context: SensorContext = SensorContext()
    ) -> Update:
        """Place a frame of any camera of the rig; see `Reconstructor.integrate`."""
        if self._leader in (None, frame.camera_frame):
            self._leader = frame.camera_frame
            update = super().integrate(frame, estimate, context)
            self._led = update, estimate.T_world_camera
            return update
        assert self._led is not None
        self._measure(frame, estimate, context)
        update = self._update(
            frame,
            estimate,
            context,
            self._beside(frame, estimate, context),
            self.scale_correction.scale,
            self._intrinsics(frame, estimate),
        )
        if self._odometry is None:
            self.scale_correction.on_state_reset(estimate.segment_scale_ratio)
        return replace(update, fused_fraction=self.map.integrate(update, self._leveling.floor_z))

    def reset(self, *, reset_odom: bool = False) -> None:
        """Forget state, trajectory and map; the next frame's camera leads."""
        super().reset(reset_odom=reset_odom)
        self._leader, self._led = None, None

    def is_reference_camera(self, frame: Frame) -> bool:
        """Return whether the body moves with the camera of this frame."""
        return frame.camera_frame == self._leader

    def _beside(self, frame: Frame, estimate: FrameEstimate, context: SensorContext) -> BodyPose:
        assert self._led is not None
        led, T_world_leader = self._led
        T_base_camera = context.T_base_camera
        if T_base_camera is not None and self._together(frame):
            T_odom_base = led.T_odom_base
        else:  # the body has moved since: by how much, the network says
            T_leader_camera = se3_inverse(T_world_leader) @ estimate.T_world_camera
            T_leader_camera[:3, 3] *= self.scale_correction.scale
            T_base_camera = np.eye(4) if T_base_camera is None else T_base_camera
            T_odom_base = (
                led.T_odom_base @ led.T_base_camera @ T_leader_camera @ se3_inverse(T_base_camera)
            )
        return BodyPose(self.pose_integrator.T_map_odom, T_odom_base, T_base_camera, np.eye(4))

    def _measure(self, frame: Frame, estimate: FrameEstimate, context: SensorContext) -> None:
        assert self._led is not None
        led, T_world_leader = self._led
        if context.T_base_camera is None or not self._together(frame):
            return
        known = np.linalg.norm(context.T_base_camera[:3, 3] - led.T_base_camera[:3, 3])
        seen = np.linalg.norm((se3_inverse(T_world_leader) @ estimate.T_world_camera)[:3, 3])
        if known >= _SHORTEST_M and seen > 0.0:
            self.scale_correction.update_from_baseline(float(known / seen))

    def _together(self, frame: Frame) -> bool:
        assert self._led is not None
        return abs(frame.stamp_ns - self._led[0].frame.stamp_ns) < _TOGETHER_NS
