# SPDX-License-Identifier: Apache-2.0
"""Frame in, pose and map out: the whole pipeline, the same for the node and for recorded data."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Generic

import numpy as np

from ttt3r_ros.backend import (
    Backend,
    StateT,
    recommended_pose_source,
    recommended_reset_interval,
)
from ttt3r_ros.errors import ImageError
from ttt3r_ros.geometry import se3_inverse
from ttt3r_ros.mapping.map_builder import MapBuilder
from ttt3r_ros.mapping.trajectory import Trajectory
from ttt3r_ros.odometry.covariance import OdometryCovariance
from ttt3r_ros.odometry.focal_estimator import FocalEstimators
from ttt3r_ros.odometry.leveling import Leveling
from ttt3r_ros.odometry.pose_integrator import BodyPose, PoseIntegrator
from ttt3r_ros.odometry.scale_correction import ScaleCorrection
from ttt3r_ros.odometry.sensor_context import SensorContext
from ttt3r_ros.odometry.session import FrameEstimate, StreamingSession
from ttt3r_ros.odometry.visual_odometry import VisualOdometry
from ttt3r_ros.slam.corrections import CorrectionQueue, MapCorrection
from ttt3r_ros.types import Frame, Intrinsics, Update

if TYPE_CHECKING:
    from ttt3r_ros.config import Config
    from ttt3r_ros.state_dict import Stateful
    from ttt3r_ros.types import Float64Array

_MIN_CONTRAST = 2  # gray levels between the darkest and the brightest value of a usable image
_SETTLING = 3  # frames of a new segment whose steps are less sure


class Reconstructor(Generic[StateT]):
    """Turns frames into poses, a trajectory and a map. One thread steps it; any thread may read the results."""

    def __init__(self, backend: Backend[StateT], config: Config) -> None:
        as_made = config.reset_interval < 0
        self.session = StreamingSession(
            backend, recommended_reset_interval(backend) if as_made else config.reset_interval
        )
        self.pose_integrator = PoseIntegrator()
        self.scale_correction = ScaleCorrection(config.scale, by_baseline=config.rig)
        self.trajectory = Trajectory()
        self.map = MapBuilder(config)
        self.corrections = CorrectionQueue()  # submitted by any thread, applied before the next frame
        self._leveling = Leveling(config.level_source, on_robot=config.on_robot)
        automatic = config.pose_source == "auto"
        source = recommended_pose_source(backend) if automatic else config.pose_source
        self._odometry = VisualOdometry() if source == "visual_odometry" else None
        # Of a rig only the leader has landmarks: the others' depths would be of another unit.
        self._refines_depth = config.refine_depth and not config.rig
        self._focals = FocalEstimators()
        self._covariance = OdometryCovariance(
            config.odometry.translation_noise_ratio, config.odometry.rotation_noise_ratio
        )

    def configure(self, config: Config) -> None:
        """Follow a live change of settings."""
        self.scale_correction.configure(config.scale)
        self.map.configure(config)
        self._covariance.translation_noise_ratio = config.odometry.translation_noise_ratio
        self._covariance.rotation_noise_ratio = config.odometry.rotation_noise_ratio

    @property
    def segment_id(self) -> int:
        """Return how many state resets there were."""
        return self.session.segment

    def is_reference_camera(self, frame: Frame) -> bool:  # noqa: ARG002 - a rig has several cameras
        """Return whether the body moves with the camera of this frame."""
        return True

    def step(self, frame: Frame, context: SensorContext = SensorContext()) -> Update:
        """Show one frame and place it.

        Raises:
            ImageError: the image carries nothing to see.
            NonFiniteError: the network's answer was not finite; nothing has changed.
        """
        return self.integrate(frame, self.infer(frame), context)

    def infer(self, frame: Frame) -> FrameEstimate:
        """Show one frame to the network, the slow part; raises as `step`."""
        self.apply_corrections()
        require_contrast(frame)
        started = time.perf_counter()
        estimate = self.session.step(frame.rgb)
        return timed(estimate, started)

    def integrate(
        self, frame: Frame, estimate: FrameEstimate, context: SensorContext = SensorContext()
    ) -> Update:
        """Turn what the network saw into a pose and points in meters, and fuse them into the map."""
        intrinsics = self._intrinsics(frame, estimate)
        estimate, intrinsics = self._tracked(frame, estimate, intrinsics)
        started = time.perf_counter()

        # How large, and which way is up
        floor = self._leveling.detect_floor(
            estimate, context, required=self.scale_correction.needs_floor
        )
        self.scale_correction.update_from_depth(estimate.prediction, context)
        self.scale_correction.update_from_camera_height(floor, context)
        scale = self.scale_correction.scale

        # Where: continuous in odom, corrected in map
        body_pose = self.pose_integrator.integrate(
            estimate.T_world_camera,
            scale,
            context.T_base_camera,
            self._leveling.initial_up(context, floor)
            if self.pose_integrator.awaits_first_frame
            else None,
        )
        if (T_level := self._leveling.update(body_pose.T_map_camera, floor, scale)) is not None:
            body_pose = self._relevel(body_pose, T_level)
        self._update_covariance(frame, estimate, body_pose)
        stretch = 0 if self._odometry else estimate.segment  # landmarks carry their unit over a seam
        self.scale_correction.update_from_odometry(context.T_odom_base, body_pose.T_odom_base, stretch)
        self.scale_correction.on_state_reset(estimate.segment_scale_ratio)

        # Remember, and fuse what we are sure of
        update = self._update(frame, estimate, context, body_pose, scale, intrinsics)
        self.trajectory.append(frame.stamp_ns, update.T_map_camera)
        fused_fraction = self.map.integrate(update, self._leveling.floor_z)
        spent = time.perf_counter() - started
        timings_s = {**update.timings_s, "map": spent}
        return replace(update, timings_s=timings_s, fused_fraction=fused_fraction)

    def reset(self, *, reset_odom: bool = False) -> None:
        """Forget state, trajectory and map; odom goes on unless it, too, is to be forgotten."""
        self.session.reset()
        self._focals.reset()
        self._leveling.reset()
        self.scale_correction.reset()
        self._covariance.reset()
        self.drop_last()
        if reset_odom:
            self.pose_integrator.reset()
        else:
            self.pose_integrator.start_new_map()
        self.trajectory.clear()
        self.map.clear()
        self.corrections.drain()  # of the map that is gone

    def apply_corrections(self) -> None:
        """Apply all submitted corrections; runs between frames on the mapping thread."""
        for correction in self.corrections.drain():
            self.apply(correction)

    def apply(self, correction: MapCorrection) -> bool:
        """Move trajectory, voxels, grid and odom by a correction; False: it is one of an earlier map.

        Raises:
            KeyError: a keyframe or submap does not exist; nothing has changed.
        """
        if correction.epoch not in (None, self.trajectory.epoch):
            return False
        T_before = self.pose_integrator.T_map_odom
        self._move(correction)
        if self._leveling.floor_z is not None:
            T_map_map = self.pose_integrator.T_map_odom @ se3_inverse(T_before)
            self._leveling.floor_z += _height_change(T_map_map, self.pose_integrator.T_map_base)
        if correction.T_map_base is not None:
            self.pose_integrator.set_pose(correction.T_map_base)
        return True

    def _move(self, correction: MapCorrection) -> None:
        self._require_ids(correction)
        if correction.T_map_map is not None:
            self.pose_integrator.correct(correction.T_map_map)
            self.trajectory.transform(correction.T_map_map)
            self.map.transform(correction.T_map_map)
        if correction.keyframe_poses:
            T_before = self.trajectory.keyframe_poses[-1]
            self.trajectory.set_keyframe_poses(correction.keyframe_poses)
            newest = len(self.trajectory.keyframe_poses) - 1
            if (T_map_keyframe := correction.keyframe_poses.get(newest)) is not None:
                self.pose_integrator.correct(T_map_keyframe @ se3_inverse(T_before))
        if correction.keyframe_poses or correction.submap_poses:
            self.map.set_submap_poses(correction.submap_poses)

    def _require_ids(self, correction: MapCorrection) -> None:
        known = len(self.trajectory.keyframe_poses), len(self.map.voxels.submaps)
        for ids, count in zip((correction.keyframe_poses, correction.submap_poses), known, strict=True):
            for unknown in (key for key in ids if not 0 <= key < count):
                raise KeyError(unknown)

    def reset_state(self) -> None:
        """Begin the state anew at the start of the map, which is kept: a recording that is played again."""
        self.session.reset()
        self.drop_last()
        self.pose_integrator.start_new_map()

    def drop_last(self) -> None:
        """Forget the last image and its time: nothing is followed from there to the next."""
        self._covariance.interrupt()
        if self._odometry is not None:
            self._odometry.reset()

    def components(self) -> dict[str, Stateful]:
        """Return the stateful parts by the names that they are saved under."""
        odometry = {} if self._odometry is None else {"visual_odometry": self._odometry}
        return {
            "session": self.session,
            **odometry,
            "focal_estimators": self._focals,
            "scale_correction": self.scale_correction,
            "leveling": self._leveling,
            "pose_integrator": self.pose_integrator,
            "covariance": self._covariance,
            "trajectory": self.trajectory,
            "map": self.map,
        }

    def _relevel(self, body_pose: BodyPose, T_level: Float64Array) -> BodyPose:
        self._move(MapCorrection(T_map_map=T_level))
        return replace(body_pose, T_map_odom=self.pose_integrator.T_map_odom)

    def _tracked(
        self, frame: Frame, estimate: FrameEstimate, intrinsics: Intrinsics
    ) -> tuple[FrameEstimate, Intrinsics]:
        """Let followed corners tell where the camera is and how far things are, where that is wished."""
        if self._odometry is None:
            return estimate, intrinsics
        started = time.perf_counter()
        prediction = estimate.prediction
        tracked = self._odometry.step(
            prediction, estimate.T_world_camera, intrinsics, calibrated=frame.intrinsics is not None
        )
        points = prediction.points_camera
        if self._refines_depth:
            points = self._odometry.refine_points(prediction, tracked.intrinsics)
        timings_s = {**prediction.timings_s, "visual_odometry": time.perf_counter() - started}
        seen = replace(
            estimate,
            prediction=replace(prediction, points_camera=points, timings_s=timings_s),
            T_world_camera=tracked.T_world_camera,
            segment_scale_ratio=None,  # biased: a worn state's depths over a fresh one's; landmarks need it not
            landmarks=tracked.landmarks,
        )
        return seen, tracked.intrinsics

    def _update_covariance(self, frame: Frame, estimate: FrameEstimate, body_pose: BodyPose) -> None:
        reset = estimate.segment > 0 and self.session.frames_in_segment <= _SETTLING
        self._covariance.update(
            frame.stamp_ns,
            body_pose.T_step,
            body_pose.T_odom_base,
            float(np.mean(estimate.prediction.confidence)),
            after_reset=reset and not estimate.landmarks,
        )

    def _update(
        self,
        frame: Frame,
        estimate: FrameEstimate,
        context: SensorContext,
        body_pose: BodyPose,
        scale: float,
        intrinsics: Intrinsics,
    ) -> Update:
        prediction = estimate.prediction
        if scale != 1.0:
            prediction = replace(prediction, points_camera=prediction.points_camera * np.float32(scale))
        return Update(
            frame=frame,
            prediction=prediction,
            T_map_camera=body_pose.T_map_camera,
            intrinsics=intrinsics,
            segment=estimate.segment,
            timings_s=prediction.timings_s,
            T_map_odom=body_pose.T_map_odom,
            T_odom_base=body_pose.T_odom_base,
            T_base_camera=body_pose.T_base_camera,
            T_step=body_pose.T_step,
            scale=scale,
            pose_covariance=self._covariance.pose,
            twist_covariance=self._covariance.twist,
            T_ext_odom_base=context.T_odom_base,
            landmarks=estimate.landmarks,
        )

    def _intrinsics(self, frame: Frame, estimate: FrameEstimate) -> Intrinsics:
        if frame.intrinsics is not None:
            return estimate.prediction.geometry.to_network(frame.intrinsics)
        return self._focals.update(frame.camera_frame, estimate.prediction)


def timed(estimate: FrameEstimate, started: float) -> FrameEstimate:
    """Return an estimate whose prediction knows how long the whole step took [perf_counter s]."""
    timings_s = {**estimate.prediction.timings_s, "step": time.perf_counter() - started}
    return replace(estimate, prediction=replace(estimate.prediction, timings_s=timings_s))


def require_contrast(frame: Frame) -> None:
    """Refuse an image of one color: it shows nothing and would only wear down the state.

    Raises:
        ImageError: names the color.
    """
    rows, columns = (max(1, side // 64) for side in frame.rgb.shape[:2])
    sample = frame.rgb[::rows, ::columns]
    low, high = int(np.min(sample)), int(np.max(sample))
    if high - low < _MIN_CONTRAST:
        msg = f"image {frame.stamp_ns} is of one color (values {low} to {high}); is the lens covered?"
        raise ImageError(msg)


def _height_change(T_map_map: Float64Array, T_map_base: Float64Array | None) -> float:
    """Return by how much a rigid motion raised the body that is now at a pose (4, 4) [m]."""
    if T_map_base is None:
        return 0.0
    return float(T_map_base[2, 3] - (se3_inverse(T_map_map) @ T_map_base)[2, 3])
