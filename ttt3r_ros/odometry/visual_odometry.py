# SPDX-License-Identifier: Apache-2.0
"""Motion from tracked features over the network's depths: for networks whose own steps are rough.

The network says how far everything is; corners followed over many images say, to a fraction of a pixel, how the
camera moved among it. Where too few can be followed (darkness, blur, a covered lens), the network's own step counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import orthonormalize, se3_inverse
from ttt3r_ros.odometry.depth_refinement import refine_points
from ttt3r_ros.odometry.feature_tracker import detect_corners, to_gray, track
from ttt3r_ros.odometry.landmarks import Landmarks, estimate_pose, update_depths

if TYPE_CHECKING:
    from ttt3r_ros.types import Float32Array, Float64Array, Intrinsics, Prediction, UInt8Array

MAX_LANDMARKS = 250
REDETECT_FRACTION = 0.85  # of them
MIN_INLIERS = 12  # landmarks that must agree on a pose ...
MIN_INLIER_RATIO = 0.4  # ... as a share of those that were followed ...
MIN_TRACKED_RATIO = 0.2  # ... and of all that were known before
OUTLIER = 14.0  # squared error over the usual one
MAX_STEP = 1.0  # times the landmarks' distance that a camera may move between two images
ZOOM_THRESHOLD = (
    0.1  # of a focal length: a change by more is another lens, by less the noise of estimates ...
)
FOCAL_EMA = 0.05  # ... and an average of them may drift for long: weight of a new one in what is usual


@dataclass(frozen=True)
class TrackedPose:
    """Where one image was taken."""

    T_world_camera: Float64Array  # (4, 4)
    landmarks: int  # that tell so; 0: the network alone does
    intrinsics: Intrinsics  # by which they are seen


class VisualOdometry:
    """Follows one camera. Its world is the network's, its lengths too."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next image is where the network says."""
        self._image: UInt8Array | None = None
        self._camera: list[float] = []  # fx, fy, cx, cy
        self._usual_focal = 0.0  # of the estimates
        self._landmarks = Landmarks.empty()
        self._T_world_network: Float64Array = np.eye(4)
        self._T_world_camera: Float64Array = np.eye(4)

    def step(
        self,
        prediction: Prediction,
        T_world_network: Float64Array,
        intrinsics: Intrinsics,
        *,
        calibrated: bool = False,
    ) -> TrackedPose:
        """Take the next image: what the network says about it, and where it was taken by the network alone.

        ``intrinsics`` are those of the network's image, ``calibrated`` or estimated.
        """
        image, landmarks = to_gray(prediction.rgb), Landmarks.empty()
        steady = self._filtered_intrinsics(intrinsics, calibrated=calibrated)
        if self._image is None:
            self._T_world_camera = T_world_network
        else:
            T_step = se3_inverse(self._T_world_network) @ T_world_network
            T_world_guess = orthonormalize(self._T_world_camera @ T_step)
            known = len(self._landmarks)
            if self._image.shape == image.shape:
                landmarks = self._track(self._image, image)
            self._T_world_camera, landmarks = _estimate_pose(
                landmarks, steady, (self._T_world_camera, T_world_guess), MIN_TRACKED_RATIO * known
            )
        self._landmarks = self._replenish(landmarks, image, prediction.points_camera[..., 2], steady)
        self._image, self._T_world_network = image, T_world_network
        return TrackedPose(self._T_world_camera, len(landmarks), steady)

    def refine_points(self, prediction: Prediction, intrinsics: Intrinsics) -> Float32Array:
        """Return the points (h, w, 3) of the newest image with depths that its landmarks make better."""
        points, image = prediction.points_camera, to_gray(prediction.rgb)
        return refine_points(points, image, self._landmarks, self._T_world_camera, intrinsics)

    def _filtered_intrinsics(self, intrinsics: Intrinsics, *, calibrated: bool) -> Intrinsics:
        """Return the camera to use. Another one would bend the rays of all landmarks, so they go where it changes.

        A calibration is taken as it is; of an estimate, which moves a little with each image, the first.
        """
        wanted = [intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy]
        same = self._camera == wanted if calibrated else self._is_same_camera(wanted)
        if not same:
            self._camera, self._usual_focal, self._landmarks = wanted, wanted[0], Landmarks.empty()
        self._usual_focal *= (wanted[0] / self._usual_focal) ** FOCAL_EMA
        fx, fy, cx, cy = self._camera
        return replace(intrinsics, fx=fx, fy=fy, cx=cx, cy=cy)

    def _is_same_camera(self, wanted: list[float]) -> bool:
        if not self._camera:
            return False
        zoom = abs(np.log(wanted[0] / self._usual_focal))
        shift = np.abs(np.subtract(wanted[2:], self._camera[2:])).max()
        return bool(zoom <= ZOOM_THRESHOLD and shift <= ZOOM_THRESHOLD * wanted[0])

    def _track(self, before: UInt8Array, now: UInt8Array) -> Landmarks:
        pixels, found = track(before, now, self._landmarks.pixels.astype(np.float32))
        return replace(self._landmarks, pixels=pixels).select(found)

    def _replenish(
        self, landmarks: Landmarks, image: UInt8Array, depth: Float32Array, intrinsics: Intrinsics
    ) -> Landmarks:
        """Return the landmarks, where they have become few with new ones as far away as the network says."""
        missing = MAX_LANDMARKS - len(landmarks)
        if missing < (1.0 - REDETECT_FRACTION) * MAX_LANDMARKS:
            return landmarks
        pixels = detect_corners(image, landmarks.pixels, missing)
        columns, rows = np.rint(pixels).astype(int).T
        depths = depth[rows, columns].astype(np.float64)
        usable = np.isfinite(depths) & (depths > 0.0)
        new = Landmarks.initialize(pixels[usable], depths[usable], intrinsics, self._T_world_camera)
        return landmarks.concatenate(new)


def _estimate_pose(
    landmarks: Landmarks,
    intrinsics: Intrinsics,
    T_world_starts: tuple[Float64Array, Float64Array],
    least: float,
) -> tuple[Float64Array, Landmarks]:
    """Return T_world_camera, and the landmarks that agree on it; where too few do, the last start and none.

    The starts are where the camera was, and where the network guesses that it is.
    """
    T_world_before, T_world_guess = T_world_starts
    if len(landmarks) >= MIN_INLIERS:
        answers = [
            estimate_pose(landmarks, intrinsics, T_world_start) for T_world_start in T_world_starts
        ]
        T_world_camera, mahalanobis_sq = min(
            answers, key=lambda answer: np.minimum(answer[1], OUTLIER).sum()
        )
        agree = mahalanobis_sq < OUTLIER
        moved = np.linalg.norm(T_world_camera[:3, 3] - T_world_before[:3, 3])
        far = moved * np.median(landmarks.inverse_depth) > MAX_STEP
        if not far and agree.sum() >= max(MIN_INLIERS, least, MIN_INLIER_RATIO * len(landmarks)):
            kept = update_depths(landmarks.select(agree), intrinsics, T_world_camera)
            if len(kept):
                return T_world_camera, kept
    return T_world_guess, Landmarks.empty()
