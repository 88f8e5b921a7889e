# SPDX-License-Identifier: Apache-2.0
"""Reconstructor: estimates poses of frames and integrates their points into a map."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic

import numpy as np

from ttt3r_ros.backend import (
    Backend,
    StateT,
    recommended_pose_source,
    recommended_reset_interval,
)
from ttt3r_ros.errors import ContrastError, PlacementError
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
from ttt3r_ros.pipeline.validation import Snapshot, validate_floor, validate_inputs, validate_update
from ttt3r_ros.slam.corrections import CorrectableMap, CorrectionQueue
from ttt3r_ros.types import Frame, Intrinsics, Update

if TYPE_CHECKING:
    from ttt3r_ros.config import Config
    from ttt3r_ros.odometry.ground_plane import Floor
    from ttt3r_ros.slam.corrections import MapCorrection
    from ttt3r_ros.state_dict import Stateful
    from ttt3r_ros.types import Float64Array

logger = logging.getLogger(__name__)

_MIN_CONTRAST = 2  # gray levels between the darkest and the brightest value of a usable image
_SETTLING_FRAMES = 3  # at the start of a segment; their steps have larger covariances


@dataclass(frozen=True)
class PlacedFrame:
    """A frame whose pose is estimated, before trajectory and map change."""

    update: Update
    T_level: Float64Array | None = None  # (4, 4) levels the map before the frame is integrated
    moves_body: bool = True  # its pose belongs to the trajectory


class Reconstructor(Generic[StateT]):
    """Estimates poses, trajectory and map of a stream of frames. One thread calls it, any thread reads the results."""

    def __init__(self, backend: Backend[StateT], config: Config) -> None:
        reset_interval, pose_source = config.reset_interval, config.pose_source
        if reset_interval < 0:
            reset_interval = recommended_reset_interval(backend)
        if pose_source == "auto":
            pose_source = recommended_pose_source(backend)
        self.session = StreamingSession(backend, reset_interval)
        self.pose_integrator = PoseIntegrator()
        self.scale_correction = ScaleCorrection(config.scale, by_baseline=config.rig)
        self.leveling = Leveling(config.level_source, on_robot=config.on_robot)
        self.trajectory = Trajectory()
        self.map = MapBuilder(config)
        self.corrections = CorrectionQueue()  # any thread submits; applied before the next frame
        self._correctable_map = CorrectableMap(
            self.pose_integrator, self.trajectory, self.map, self.leveling
        )
        self._odometry = VisualOdometry() if pose_source == "visual_odometry" else None
        # Only the reference camera of a rig has landmarks: refined depths would have another scale than the others.
        self._refines_depth = config.refine_depth and not config.rig
        self._focals = FocalEstimators()
        self._covariance = OdometryCovariance(
            config.odometry.translation_noise_ratio, config.odometry.rotation_noise_ratio
        )

    def configure(self, config: Config) -> None:
        """Apply a live change of settings."""
        self.scale_correction.configure(config.scale)
        self.map.configure(config)
        self._covariance.translation_noise_ratio = config.odometry.translation_noise_ratio
        self._covariance.rotation_noise_ratio = config.odometry.rotation_noise_ratio

    @property
    def segment_id(self) -> int:
        """Return the number of state resets."""
        return self.session.segment

    def is_reference_camera(self, frame: Frame) -> bool:  # noqa: ARG002 - a rig has several cameras
        """Return whether the pose of the body follows from the camera of this frame."""
        return True

    # --- frames -------------------------------------------------------------------------------------

    def step(self, frame: Frame, context: SensorContext = SensorContext()) -> Update:
        """Process one frame: `infer`, then `integrate`.

        Raises:
            ImageError: the image has no contrast.
            NonFiniteError: the prediction is not finite; nothing has changed.
            PlacementError: a pose, scale or sensor value is not finite or absurd; nothing has changed.
        """
        return self.integrate(frame, self.infer(frame), context)

    def infer(self, frame: Frame) -> FrameEstimate:
        """Apply pending corrections and run the network on one frame; raise as `step`."""
        self.apply_corrections()
        require_contrast(frame)
        started_s = time.perf_counter()
        estimate = self.session.step(frame.rgb)
        return add_step_time(estimate, started_s)

    def integrate(
        self, frame: Frame, estimate: FrameEstimate, context: SensorContext = SensorContext()
    ) -> Update:
        """Estimate pose and scale of a frame, and integrate its points into the map.

        Raises:
            PlacementError: a value is not finite or absurd; nothing has changed, also not by `infer`.
        """
        started_s = time.perf_counter()
        before = Snapshot(self._estimators())
        try:
            validate_inputs(estimate, context)
            placed = self._place(frame, estimate, context)
            validate_update(placed.update, self.leveling.floor_z)
        except Exception as error:
            before.restore()
            self.session.revert()
            if isinstance(error, (ArithmeticError, ValueError)):  # such as a singular matrix
                msg = f"frame {frame.stamp_ns}: {error!r}"
                raise PlacementError(msg) from error
            raise
        update = placed.update
        if placed.T_level is not None:
            self.map.transform(placed.T_level)
            self.trajectory.transform(placed.T_level)
        if placed.moves_body:
            self.trajectory.append(frame.stamp_ns, update.T_map_camera)
        fused_fraction = self.map.integrate(update, self.leveling.floor_z)
        duration_s = time.perf_counter() - started_s - update.timings_s.get("visual_odometry", 0.0)
        timings_s = {**update.timings_s, "map": duration_s}
        return replace(update, timings_s=timings_s, fused_fraction=fused_fraction)

    def _place(self, frame: Frame, estimate: FrameEstimate, context: SensorContext) -> PlacedFrame:
        """Return the placement of a frame; only `_estimators` change."""
        intrinsics = self._estimate_intrinsics(frame, estimate)
        if self._odometry is not None:
            estimate, intrinsics = self._track(self._odometry, frame, estimate, intrinsics)
        floor = self.leveling.detect_floor(estimate, context, required=self.scale_correction.needs_floor)
        validate_floor(floor)
        self.scale_correction.update_from_depth(estimate.prediction, context)
        self.scale_correction.update_from_camera_height(floor, context)
        scale = self.scale_correction.scale
        body_pose, T_level = self._integrate_pose(estimate, context, floor, scale)
        self._update_covariance(frame, estimate, body_pose)
        # Landmarks keep their scale across a state reset, so that their path is one segment.
        segment = 0 if self._odometry else estimate.segment
        self.scale_correction.update_from_odometry(context.T_odom_base, body_pose.T_odom_base, segment)
        self.scale_correction.on_state_reset(estimate.segment_scale_ratio)
        update = self._create_update(frame, estimate, context, body_pose, scale, intrinsics)
        return PlacedFrame(update, T_level)

    def _estimators(self) -> list[Stateful]:
        """Return the components that `_place` changes."""
        kept = ("session", "trajectory", "map")
        return [part for name, part in self.components().items() if name not in kept]

    # --- resets and corrections ---------------------------------------------------------------------

    def reset(self, *, reset_odom: bool = False) -> None:
        """Clear state, trajectory and map; odom continues unless ``reset_odom``."""
        self.session.reset()
        self._focals.reset()
        self.leveling.reset()
        self.scale_correction.reset()
        self._covariance.reset()
        self.drop_last()
        if reset_odom:
            self.pose_integrator.reset()
        else:
            self.pose_integrator.start_new_map()
        self.trajectory.clear()
        self.map.clear()
        self.corrections.drain()  # they belong to the map that was cleared

    def reset_state(self) -> None:
        """Reset the network's state and start again at the origin of the map, which is kept: a recording repeats."""
        self.session.reset()
        self.drop_last()
        self.pose_integrator.start_new_map()

    def drop_last(self) -> None:
        """Discard the last frame, so that neither landmarks nor covariance continue from it."""
        self._covariance.interrupt()
        if self._odometry is not None:
            self._odometry.reset()

    def apply_corrections(self) -> None:
        """Apply all submitted corrections; call it between frames on the mapping thread."""
        for correction in self.corrections.drain():
            self.apply(correction)

    def apply(self, correction: MapCorrection) -> bool:
        """Apply a correction now; see `CorrectableMap.apply`."""
        is_applied = self._correctable_map.apply(correction)
        if not is_applied:
            logger.info(
                "dropped a map correction of revision %s; the map has revision %d",
                correction.revision, self.trajectory.revision,
            )  # fmt: skip
        return is_applied

    def components(self) -> dict[str, Stateful]:
        """Return the stateful components by their names in the state dict."""
        odometry = {} if self._odometry is None else {"visual_odometry": self._odometry}
        return {
            "session": self.session,
            **odometry,
            "focal_estimators": self._focals,
            "scale_correction": self.scale_correction,
            "leveling": self.leveling,
            "pose_integrator": self.pose_integrator,
            "covariance": self._covariance,
            "trajectory": self.trajectory,
            "map": self.map,
        }

    def _integrate_pose(
        self, estimate: FrameEstimate, context: SensorContext, floor: Floor | None, scale: float
    ) -> tuple[BodyPose, Float64Array | None]:
        """Return the poses of a frame and, once, the correction (4, 4) by which the first floor levels the map."""
        is_first = self.pose_integrator.awaits_first_frame
        up_camera = self.leveling.initial_up(context, floor) if is_first else None
        body_pose = self.pose_integrator.integrate(
            estimate.T_world_camera, scale, context.T_base_camera, up_camera
        )
        T_level = self.leveling.update(body_pose.T_map_camera, floor, scale)
        if T_level is None:
            return body_pose, None
        self.pose_integrator.correct(T_level)
        return replace(body_pose, T_map_odom=self.pose_integrator.T_map_odom), T_level

    def _track(
        self,
        odometry: VisualOdometry,
        frame: Frame,
        estimate: FrameEstimate,
        intrinsics: Intrinsics,
    ) -> tuple[FrameEstimate, Intrinsics]:
        """Return the estimate with pose and depths by visual odometry, and the intrinsics of the landmarks."""
        started_s = time.perf_counter()
        prediction = estimate.prediction
        tracked = odometry.step(
            prediction, estimate.T_world_camera, intrinsics, calibrated=frame.intrinsics is not None
        )
        points = prediction.points_camera
        if self._refines_depth:
            points = odometry.refine_points(prediction, tracked.intrinsics)
        timings_s = {**prediction.timings_s, "visual_odometry": time.perf_counter() - started_s}
        tracked_estimate = replace(
            estimate,
            prediction=replace(prediction, points_camera=points, timings_s=timings_s),
            T_world_camera=tracked.T_world_camera,
            # Biased, as it compares depths of an old and a new state; landmarks keep the scale without it.
            segment_scale_ratio=None,
            landmarks=tracked.landmarks,
        )
        return tracked_estimate, tracked.intrinsics

    def _update_covariance(self, frame: Frame, estimate: FrameEstimate, body_pose: BodyPose) -> None:
        is_settling = estimate.segment > 0 and self.session.frames_in_segment <= _SETTLING_FRAMES
        self._covariance.update(
            frame.stamp_ns,
            body_pose.T_step,
            body_pose.T_odom_base,
            float(np.mean(estimate.prediction.confidence)),
            after_reset=is_settling and not estimate.landmarks,
        )

    def _create_update(
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

    def _estimate_intrinsics(self, frame: Frame, estimate: FrameEstimate) -> Intrinsics:
        if frame.intrinsics is not None:
            return estimate.prediction.geometry.to_network(frame.intrinsics)
        return self._focals.update(frame.camera_frame, estimate.prediction)


def add_step_time(estimate: FrameEstimate, started_s: float) -> FrameEstimate:
    """Return an estimate with the time since ``started_s`` (of `time.perf_counter`) as that of its step."""
    timings_s = {**estimate.prediction.timings_s, "step": time.perf_counter() - started_s}
    return replace(estimate, prediction=replace(estimate.prediction, timings_s=timings_s))


def require_contrast(frame: Frame) -> None:
    """Reject an image of one color, which has no information and would degrade the state.

    Raises:
        ContrastError: with the range of the values.
    """
    rows, columns = (max(1, side // 64) for side in frame.rgb.shape[:2])
    sample = frame.rgb[::rows, ::columns]
    low, high = int(np.min(sample)), int(np.max(sample))
    if high - low < _MIN_CONTRAST:
        msg = f"image {frame.stamp_ns} is of one color (values {low} to {high}); is the lens covered?"
        raise ContrastError(msg)
