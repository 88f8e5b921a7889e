# SPDX-License-Identifier: Apache-2.0
"""Visual odometry: camera poses from tracked corners with the network's depths.

The network gives the depths; corners tracked over many images give the motion of the camera to a fraction of a pixel.
Where too few corners can be tracked (darkness, blur, a covered lens), the relative pose of the network is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import orthonormalize, se3_inverse
from ttt3r_ros.odometry.depth_refinement import refine_points
from ttt3r_ros.odometry.feature_tracker import detect_corners, to_gray, track
from ttt3r_ros.odometry.landmarks import Landmarks, estimate_pose, update_depths
from ttt3r_ros.state_dict import StateReader, pack_optional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.state_dict import StateDict
    from ttt3r_ros.types import Float32Array, Float64Array, Intrinsics, Prediction, UInt8Array

MAX_LANDMARKS = 250
REDETECT_FRACTION = 0.85  # of MAX_LANDMARKS; with fewer, new corners are detected
MIN_INLIERS = 12
MIN_INLIER_RATIO = 0.4  # inliers over tracked landmarks
MIN_TRACKED_RATIO = 0.2  # inliers over the landmarks of the previous image
OUTLIER = 14.0  # normalized squared reprojection error
MAX_STEP = 1.0  # motion between two images, over the median depth of the landmarks
ZOOM_THRESHOLD = 0.1  # relative change of the focal length; above it the lens has changed
_MAX_FOCAL = 1e6  # [px]; saved values beyond it are damage
FOCAL_EMA = 0.05  # weight of a new focal length in the average that it is compared with


@dataclass(frozen=True)
class TrackedPose:
    """Result of the visual odometry for one image."""

    T_world_camera: Float64Array  # (4, 4)
    landmarks: int  # inliers that the pose was estimated from; 0: the step is the network's
    intrinsics: Intrinsics  # that the landmarks were observed with


class VisualOdometry:
    """Tracks one camera, in the world and in the unit of the network."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Discard image and landmarks; the next pose is the network's."""
        self._image: UInt8Array | None = None
        self._camera: list[float] = []  # fx, fy, cx, cy
        self._mean_focal = 0.0
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
        """Process the next image: its prediction and the network's pose (4, 4) of it.

        ``intrinsics`` are those of the network's image, ``calibrated`` or estimated.
        """
        image = to_gray(prediction.rgb)
        intrinsics = self._filter_intrinsics(intrinsics, calibrated=calibrated)
        if self._image is None:
            self._T_world_camera, inliers = T_world_network, Landmarks.empty()
        else:
            tracked = self._track(self._image, image)
            T_world_predicted = self._predict_pose(T_world_network)
            self._T_world_camera, inliers = self._estimate_pose(tracked, T_world_predicted, intrinsics)
        self._landmarks = self._replenish(inliers, image, prediction.points_camera[..., 2], intrinsics)
        self._image, self._T_world_network = image, T_world_network
        return TrackedPose(self._T_world_camera, len(inliers), intrinsics)

    def refine_points(self, prediction: Prediction, intrinsics: Intrinsics) -> Float32Array:
        """Return the points (h, w, 3) of the last image with depths refined by its landmarks."""
        points, image = prediction.points_camera, to_gray(prediction.rgb)
        return refine_points(points, image, self._landmarks, self._T_world_camera, intrinsics)

    def _filter_intrinsics(self, intrinsics: Intrinsics, *, calibrated: bool) -> Intrinsics:
        """Return the intrinsics to use; where they change, all landmarks are discarded, as their rays change.

        A calibration is used as it is. Estimates vary from image to image, so the first one is kept.
        """
        camera = [intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy]
        same = self._camera == camera if calibrated else self._is_same_camera(camera)
        if not same:
            self._camera, self._mean_focal, self._landmarks = camera, camera[0], Landmarks.empty()
        self._mean_focal *= (camera[0] / self._mean_focal) ** FOCAL_EMA
        fx, fy, cx, cy = self._camera
        return replace(intrinsics, fx=fx, fy=fy, cx=cx, cy=cy)

    def _is_same_camera(self, camera: list[float]) -> bool:
        if not self._camera:
            return False
        zoom = abs(np.log(camera[0] / self._mean_focal))
        shift = np.abs(np.subtract(camera[2:], self._camera[2:])).max()
        return bool(zoom <= ZOOM_THRESHOLD and shift <= ZOOM_THRESHOLD * camera[0])

    def _track(self, previous: UInt8Array, image: UInt8Array) -> Landmarks:
        """Return the landmarks that were found again, with their observations in the image (h, w)."""
        if previous.shape != image.shape:
            return Landmarks.empty()
        pixels, found = track(previous, image, self._landmarks.pixels.astype(np.float32))
        return replace(self._landmarks, pixels=pixels).select(found)

    def _predict_pose(self, T_world_network: Float64Array) -> Float64Array:
        """Return the last pose moved by the network's step."""
        T_step = se3_inverse(self._T_world_network) @ T_world_network
        return orthonormalize(self._T_world_camera @ T_step)

    def _estimate_pose(
        self, tracked: Landmarks, T_world_predicted: Float64Array, intrinsics: Intrinsics
    ) -> tuple[Float64Array, Landmarks]:
        """Return T_world_camera (4, 4) and the inliers; the predicted pose and none if there are too few."""
        if len(tracked) >= MIN_INLIERS:
            # The optimization may end in a local minimum, so it starts at the last and at the predicted pose.
            starts = (self._T_world_camera, T_world_predicted)
            results = [estimate_pose(tracked, intrinsics, T_world_start) for T_world_start in starts]
            T_world_camera, errors = min(
                results, key=lambda result: np.minimum(result[1], OUTLIER).sum()
            )
            is_inlier = errors < OUTLIER
            min_inliers = max(
                MIN_INLIERS, MIN_TRACKED_RATIO * len(self._landmarks), MIN_INLIER_RATIO * len(tracked)
            )
            if is_inlier.sum() >= min_inliers and self._is_plausible_step(T_world_camera, tracked):
                inliers = update_depths(tracked.select(is_inlier), intrinsics, T_world_camera)
                if len(inliers):
                    return T_world_camera, inliers
        return T_world_predicted, Landmarks.empty()

    def _is_plausible_step(self, T_world_camera: Float64Array, tracked: Landmarks) -> bool:
        moved = np.linalg.norm(T_world_camera[:3, 3] - self._T_world_camera[:3, 3])
        return bool(moved * np.median(tracked.inverse_depth) <= MAX_STEP)

    def _replenish(
        self, landmarks: Landmarks, image: UInt8Array, depth: Float32Array, intrinsics: Intrinsics
    ) -> Landmarks:
        """Return the landmarks; if they are few, with new ones at the predicted depths (h, w)."""
        missing = MAX_LANDMARKS - len(landmarks)
        if missing < (1.0 - REDETECT_FRACTION) * MAX_LANDMARKS:
            return landmarks
        pixels = detect_corners(image, landmarks.pixels, missing)
        columns, rows = np.rint(pixels).astype(int).T
        depths = depth[rows, columns].astype(np.float64)
        usable = np.isfinite(depths) & (depths > 0.0)
        new = Landmarks.initialize(pixels[usable], depths[usable], intrinsics, self._T_world_camera)
        return landmarks.concatenate(new)

    def state_dict(self) -> StateDict:
        """Return a copy of the last image, its landmarks and poses."""
        shape = (0, 0) if self._image is None else self._image.shape
        return {
            "image": pack_optional(self._image, np.uint8, shape),
            "camera": np.array(self._camera, np.float64),
            "mean_focal": float(self._mean_focal),
            "landmarks": self._landmarks.state_dict(),
            "T_world_network": self._T_world_network.copy(),
            "T_world_camera": self._T_world_camera.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid; nothing has changed.
        """
        with StateReader(state, "visual_odometry") as read:
            image = read.optional("image", np.uint8, (None, None))
            camera = read.array("camera", np.float64, (None,)).tolist()
            read.require(
                len(camera) in (0, 4), f"camera has {len(camera)} values; expected fx, fy, cx and cy"
            )
            mean_focal = read.number_within("mean_focal", 0.0, _MAX_FOCAL)
            is_camera = not camera or (min(camera[0], camera[1], mean_focal) > 0.0)
            read.require(
                is_camera and all(abs(value) <= _MAX_FOCAL for value in camera),
                f"camera is {camera}, mean_focal is {mean_focal}",
            )
            landmarks = Landmarks.from_state_dict(read.group("landmarks"))
            height, width = (0, 0) if image is None else image.shape
            pixels = np.rint(landmarks.pixels)
            is_inside = (pixels >= 0).all() and (pixels < (width, height)).all()
            read.require(is_inside, f"pixels of landmarks are outside of the image {width}x{height}")
            read.require(bool(camera) or not len(landmarks), "landmarks have no camera")
            T_world_network, T_world_camera = read.pose("T_world_network"), read.pose("T_world_camera")
        self._image, self._camera, self._mean_focal = image, camera, mean_focal
        self._landmarks = landmarks
        self._T_world_network, self._T_world_camera = T_world_network, T_world_camera
