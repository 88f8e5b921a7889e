# SPDX-License-Identifier: Apache-2.0
"""Motion from tracked features over the network's depths: for networks whose own steps are rough.

The network says how far everything is; corners followed over many images say, to a fraction of a pixel, how the
camera moved among it. Where too few can be followed (darkness, blur, a covered lens), the network's own step counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import inverse, orthonormalized
from ttt3r_ros.odometry.depth_refinement import refined_points
from ttt3r_ros.odometry.feature_tracker import corners, followed, gray
from ttt3r_ros.odometry.landmarks import Landmarks, camera_of, sharpened

if TYPE_CHECKING:
    from ttt3r_ros.types import Float32Array, Float64Array, Intrinsics, Prediction, UInt8Array

LANDMARKS = 250
REFILL_BELOW = 0.85  # of them
LEAST = 12  # landmarks that must agree on a pose ...
LEAST_SHARE = 0.4  # ... as a share of those that were followed ...
LEAST_KNOWN = 0.2  # ... and of all that were known before
OUTLIER = 14.0  # squared error over the usual one
FARTHEST = 1.0  # times the landmarks' distance that a camera may move between two images
ZOOMED = 0.1  # of a focal length: a change by more is another lens, by less the noise of estimates ...
DRIFT = 0.05  # ... and an average of them may drift for long: weight of a new one in what is usual


@dataclass(frozen=True)
class Tracked:
    """Where one image was taken."""

    T_world_camera: Float64Array  # (4, 4)
    landmarks: int  # that tell so; 0: the network alone does
    intrinsics: Intrinsics  # by which they are seen


class VisualOdometry:
    """Follows one camera. Its world is the network's, its lengths too."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget everything; the next image is where the network says."""
        self._image: UInt8Array | None = None
        self._camera: list[float] = []  # fx, fy, cx, cy
        self._usual_focal = 0.0  # of the estimates
        self._landmarks = Landmarks.none()
        self._T_world_network: Float64Array = np.eye(4)
        self._T_world_camera: Float64Array = np.eye(4)

    def step(
        self,
        prediction: Prediction,
        T_world_network: Float64Array,
        intrinsics: Intrinsics,
        *,
        calibrated: bool = False,
    ) -> Tracked:
        """Take the next image: what the network says about it, and where it was taken by the network alone.

        ``intrinsics`` are those of the network's image, ``calibrated`` or estimated.
        """
        image, landmarks = gray(prediction.rgb), Landmarks.none()
        steady = self._hold_camera(intrinsics, calibrated=calibrated)
        if self._image is None:
            self._T_world_camera = T_world_network
        else:
            T_step = inverse(self._T_world_network) @ T_world_network
            T_world_guess = orthonormalized(self._T_world_camera @ T_step)
            known = len(self._landmarks)
            if self._image.shape == image.shape:
                landmarks = self._followed(self._image, image)
            self._T_world_camera, landmarks = _located(
                landmarks, steady, (self._T_world_camera, T_world_guess), LEAST_KNOWN * known
            )
        self._landmarks = self._refilled(landmarks, image, prediction.points_camera[..., 2], steady)
        self._image, self._T_world_network = image, T_world_network
        return Tracked(self._T_world_camera, len(landmarks), steady)

    def refined_points(self, prediction: Prediction, intrinsics: Intrinsics) -> Float32Array:
        """Return the points (h, w, 3) of the newest image with depths that its landmarks make better."""
        points, image = prediction.points_camera, gray(prediction.rgb)
        return refined_points(points, image, self._landmarks, self._T_world_camera, intrinsics)

    def _hold_camera(self, intrinsics: Intrinsics, *, calibrated: bool) -> Intrinsics:
        """Return the camera to use. Another one would bend the rays of all landmarks, so they go where it changes.

        A calibration is taken as it is; of an estimate, which moves a little with each image, the first.
        """
        wanted = [intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy]
        same = self._camera == wanted if calibrated else self._resembles(wanted)
        if not same:
            self._camera, self._usual_focal, self._landmarks = wanted, wanted[0], Landmarks.none()
        self._usual_focal *= (wanted[0] / self._usual_focal) ** DRIFT
        fx, fy, cx, cy = self._camera
        return replace(intrinsics, fx=fx, fy=fy, cx=cx, cy=cy)

    def _resembles(self, wanted: list[float]) -> bool:
        if not self._camera:
            return False
        zoom = abs(np.log(wanted[0] / self._usual_focal))
        shift = np.abs(np.subtract(wanted[2:], self._camera[2:])).max()
        return bool(zoom <= ZOOMED and shift <= ZOOMED * wanted[0])

    def _followed(self, before: UInt8Array, now: UInt8Array) -> Landmarks:
        pixels, found = followed(before, now, self._landmarks.pixels.astype(np.float32))
        return replace(self._landmarks, pixels=pixels).kept(found)

    def _refilled(
        self, landmarks: Landmarks, image: UInt8Array, depth: Float32Array, intrinsics: Intrinsics
    ) -> Landmarks:
        """Return the landmarks, where they have become few with new ones as far away as the network says."""
        missing = LANDMARKS - len(landmarks)
        if missing < (1.0 - REFILL_BELOW) * LANDMARKS:
            return landmarks
        pixels = corners(image, landmarks.pixels, missing)
        columns, rows = np.rint(pixels).astype(int).T
        depths = depth[rows, columns].astype(np.float64)
        usable = np.isfinite(depths) & (depths > 0.0)
        new = Landmarks.seen(pixels[usable], depths[usable], intrinsics, self._T_world_camera)
        return landmarks.joined(new)


def _located(
    landmarks: Landmarks,
    intrinsics: Intrinsics,
    T_world_starts: tuple[Float64Array, Float64Array],
    least: float,
) -> tuple[Float64Array, Landmarks]:
    """Return T_world_camera, and the landmarks that agree on it; where too few do, the last start and none.

    The starts are where the camera was, and where the network guesses that it is.
    """
    T_world_before, T_world_guess = T_world_starts
    if len(landmarks) >= LEAST:
        answers = [camera_of(landmarks, intrinsics, T_world_start) for T_world_start in T_world_starts]
        T_world_camera, surprise = min(answers, key=lambda answer: np.minimum(answer[1], OUTLIER).sum())
        agree = surprise < OUTLIER
        moved = np.linalg.norm(T_world_camera[:3, 3] - T_world_before[:3, 3])
        far = moved * np.median(landmarks.inverse_depth) > FARTHEST
        if not far and agree.sum() >= max(LEAST, least, LEAST_SHARE * len(landmarks)):
            kept = sharpened(landmarks.kept(agree), intrinsics, T_world_camera)
            if len(kept):
                return T_world_camera, kept
    return T_world_guess, Landmarks.none()
