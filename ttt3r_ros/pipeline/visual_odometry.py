# SPDX-License-Identifier: Apache-2.0
"""Motion from tracked features over the network's depths: for networks whose own steps are rough.

The network says how far everything is; corners followed over many images say, to a fraction of a pixel, how the
camera moved among it. Where too few can be followed (darkness, blur, a bare wall), the network's own step counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import inverse, orthonormalised
from ttt3r_ros.pipeline.feature_tracks import corners, followed, grey
from ttt3r_ros.pipeline.landmarks import Landmarks, camera_of, sharpened

if TYPE_CHECKING:
    from ttt3r_ros.types import Float32Array, Float64Array, Intrinsics, Prediction, UInt8Array

LANDMARKS = 250
REFILL_BELOW = 0.85  # of them
LEAST = 12  # landmarks that must agree on a pose ...
LEAST_SHARE = 0.4  # ... and share of those that were followed
OUTLIER = 14.0  # squared error over the usual one
ZOOMED = (
    0.1  # a focal length that has changed by this share is another one; less is the noise of estimates
)


@dataclass(frozen=True)
class Tracked:
    """Where one image was taken."""

    T_world_camera: Float64Array  # (4, 4)
    landmarks: int  # that tell so; 0: the network alone does


class VisualOdometry:
    """Follows one camera. Its world is the network's, its lengths too."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget everything; the next image is where the network says."""
        self._image: UInt8Array | None = None
        self._focal_px = 0.0
        self._landmarks = Landmarks.none()
        self._T_world_network: Float64Array = np.eye(4)
        self._T_world_camera: Float64Array = np.eye(4)

    def step(
        self, prediction: Prediction, T_world_network: Float64Array, intrinsics: Intrinsics
    ) -> Tracked:
        """Take the next image: what the network says about it, and where it was taken by the network alone."""
        image, landmarks = grey(prediction.rgb), Landmarks.none()
        steady = self._steady(intrinsics)
        if self._image is None:
            self._T_world_camera = T_world_network
        else:
            T_step = inverse(self._T_world_network) @ T_world_network
            T_world_guess = orthonormalised(self._T_world_camera @ T_step)
            if self._image.shape == image.shape:
                landmarks = self._followed(self._image, image)
            self._T_world_camera, landmarks = _located(
                landmarks, steady, self._T_world_camera, T_world_guess
            )
        self._landmarks = self._refilled(landmarks, image, prediction.points_camera[..., 2], steady)
        self._image, self._T_world_network = image, T_world_network
        return Tracked(self._T_world_camera, len(landmarks))

    def shrink(self, factor: float) -> None:
        """Take all distances for so many times shorter: the unit of the network has grown."""
        if factor != 1.0:
            self._landmarks = self._landmarks.nearer(factor, self._T_world_camera[:3, 3])

    def _steady(self, intrinsics: Intrinsics) -> Intrinsics:
        """Return the camera with the focal length it had before: another one would bend the rays of all landmarks."""
        if self._focal_px == 0.0 or abs(np.log(intrinsics.fx / self._focal_px)) > ZOOMED:
            self._focal_px, self._landmarks = intrinsics.fx, Landmarks.none()
        aspect = intrinsics.fy / intrinsics.fx
        return replace(intrinsics, fx=self._focal_px, fy=self._focal_px * aspect)

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
    T_world_before: Float64Array,
    T_world_guess: Float64Array,
) -> tuple[Float64Array, Landmarks]:
    """Return T_world_camera, and the landmarks that agree on it; the guess and none where too few do."""
    if len(landmarks) >= LEAST:
        T_world_camera, surprise = camera_of(landmarks, intrinsics, T_world_before)
        agree = surprise < OUTLIER
        if agree.sum() >= max(LEAST, LEAST_SHARE * len(landmarks)):
            return T_world_camera, sharpened(landmarks.kept(agree), intrinsics, T_world_camera)
    return T_world_guess, Landmarks.none()
