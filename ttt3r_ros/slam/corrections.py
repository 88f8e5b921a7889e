# SPDX-License-Identifier: Apache-2.0
"""Corrections of the map as values, and the queue through which a back end hands them to the mapping thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.types import Float64Array


@dataclass(frozen=True)
class MapCorrection:
    """New poses (4, 4) in the map, applied together between two frames.

    A rigid motion of the whole map is applied first. Keyframes and submaps that are not listed stay where they are.
    ``T_map_odom`` moves with the newest keyframe, so that the next frame continues in the corrected map.

    Raises:
        ValueError: a pose is not a finite matrix (4, 4).
    """

    T_map_map: Float64Array | None = None  # moves keyframes, submaps and odom
    keyframe_poses: Mapping[int, Float64Array] = field(default_factory=dict)  # T_map_keyframe by id
    submap_poses: Mapping[int, Float64Array] = field(default_factory=dict)  # T_map_submap by id
    T_map_base: Float64Array | None = None  # relocalization: moves odom only
    epoch: int | None = None  # `Trajectory.epoch` of the map that it corrects; None: any

    def __post_init__(self) -> None:
        for name in ("T_map_map", "T_map_base"):
            if (T := getattr(self, name)) is not None:
                object.__setattr__(self, name, _read_only_pose(T))
        for name in ("keyframe_poses", "submap_poses"):
            poses = {key: _read_only_pose(T) for key, T in getattr(self, name).items()}
            object.__setattr__(self, name, MappingProxyType(poses))


class CorrectionQueue:
    """Corrections that wait for the end of the current frame. Any thread submits, the mapping thread drains."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[MapCorrection] = []

    def submit(self, correction: MapCorrection) -> None:
        """Append a correction."""
        with self._lock:
            self._pending.append(correction)

    def drain(self) -> list[MapCorrection]:
        """Remove and return all corrections in order of submission."""
        with self._lock:
            pending, self._pending = self._pending, []
        return pending


def _read_only_pose(T: Float64Array) -> Float64Array:
    pose = np.array(T, np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        msg = f"pose of a correction is {pose.tolist()}; expected a finite matrix (4, 4)"
        raise ValueError(msg)
    pose.flags.writeable = False
    return pose
