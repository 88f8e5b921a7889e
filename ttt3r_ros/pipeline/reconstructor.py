# SPDX-License-Identifier: Apache-2.0
"""Frame in, pose and map out: the whole pipeline, the same for the node and for recorded data."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Generic

import numpy as np

from ttt3r_ros.errors import ImageError
from ttt3r_ros.geometry import T_BODY_OPTICAL, transform
from ttt3r_ros.pipeline.focal import FocalEstimator
from ttt3r_ros.pipeline.session import Sighting, StreamingSession
from ttt3r_ros.pipeline.trajectory import Trajectory
from ttt3r_ros.pipeline.voxel_map import VoxelMap
from ttt3r_ros.types import Backend, Frame, Intrinsics, StateT, Update

if TYPE_CHECKING:
    from ttt3r_ros.config import Config

_MIN_CONTRAST = 2  # grey levels between the darkest and the brightest value of a usable image


class Reconstructor(Generic[StateT]):
    """Turns frames into poses, a trajectory and a map. One thread steps it; any thread may read the results."""

    def __init__(self, backend: Backend[StateT], config: Config) -> None:
        self._config = config
        as_made = config.reset_interval < 0
        self._session = StreamingSession(
            backend, backend.reset_interval if as_made else config.reset_interval
        )
        self._focal = FocalEstimator()
        self.trajectory = Trajectory()
        self.map = VoxelMap(config.map.voxel_size, config.map.max_voxels)

    def step(self, frame: Frame) -> Update:
        """Show one frame.

        Raises:
            ImageError: the image carries nothing to see.
            NonFiniteError: the network's answer was not finite; nothing has changed.
        """
        require_contrast(frame)

        # Show the frame to the network; poses stay continuous across state resets
        started = time.perf_counter()
        sighting = self._session.step(frame.rgb)
        stepped = time.perf_counter()

        # Remember where we were
        T_map_camera = T_BODY_OPTICAL @ sighting.T_world_camera
        self.trajectory.append(frame.stamp_ns, T_map_camera)
        intrinsics = self._intrinsics(frame, sighting)

        # Fuse what we are sure of
        update = Update(
            frame=frame,
            prediction=sighting.prediction,
            T_map_camera=T_map_camera,
            intrinsics=intrinsics,
            segment=sighting.segment,
            timings_s={**sighting.prediction.timings_s, "step": stepped - started},
        )
        self._fuse(update)
        fused = time.perf_counter()
        return replace(update, timings_s={**update.timings_s, "map": fused - stepped})

    @property
    def segment(self) -> int:
        """Return how many state resets there were."""
        return self._session.segment

    def restart(self) -> None:
        """Forget state, trajectory and map."""
        self._session.restart()
        self._focal.restart()
        self.trajectory.clear()
        self.map.clear()

    def _intrinsics(self, frame: Frame, sighting: Sighting) -> Intrinsics:
        if frame.intrinsics is not None:
            return sighting.prediction.geometry.to_network(frame.intrinsics)
        return self._focal.update(sighting.prediction)

    def _fuse(self, update: Update) -> None:
        config, prediction = self._config.map, update.prediction
        points, confidence = prediction.points_camera, prediction.confidence
        depth = points[..., 2]
        chosen = (confidence >= config.min_confidence) & (depth > 0) & (depth <= config.max_range)
        if chosen.any():
            points_map = transform(update.T_map_camera, points[chosen])
            self.map.integrate(points_map, prediction.rgb[chosen], confidence[chosen])


def require_contrast(frame: Frame) -> None:
    """Refuse an image of one colour: it shows nothing and would only wear down the state.

    Raises:
        ImageError: names the colour.
    """
    rows, columns = (max(1, side // 64) for side in frame.rgb.shape[:2])
    sample = frame.rgb[::rows, ::columns]
    low, high = int(np.min(sample)), int(np.max(sample))
    if high - low < _MIN_CONTRAST:
        msg = f"image {frame.stamp_ns} is of one colour (values {low} to {high}); is the lens covered?"
        raise ImageError(msg)
