# SPDX-License-Identifier: Apache-2.0
"""Direction against gravity from an IMU, and camera poses leveled by it."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import normalize_quaternion, rotation_from_quat_wxyz

if TYPE_CHECKING:
    from ttt3r_ros.types import Float64Array

_WINDOW_NS = 1_000_000_000
_GRAVITY = 9.81  # m/s2
_QUIET_FORCE = 0.5  # m/s2 from gravity; more is motion
_QUIET_TURN = 0.3  # rad/s; more is motion
_QUIET_SHARE = 0.5  # of the window; a moving body passes through quiet moments by chance, too
# Sine of the angle between optical axis and vertical below which there is no heading.
_MIN_LENGTH = 1e-9  # of a vector with a direction
_MIN_HEADING = 0.02


@dataclass(frozen=True)
class _Sample:
    stamp_ns: int
    specific_force: Float64Array  # (3,) m/s2
    is_quiet: bool
    up: Float64Array | None  # (3,) unit; from the orientation of the IMU


class GravityEstimator:
    """Estimates the direction up from the last second of IMU samples. Thread-safe."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()
        self._lock = threading.Lock()

    def add(
        self,
        stamp_ns: int,
        specific_force: Float64Array,
        angular_velocity: Float64Array | None = None,
        quat_xyzw: Float64Array | None = None,
    ) -> None:
        """Add one message: (3,) m/s2, (3,) rad/s, orientation of the IMU in a z-up frame (4,).

        At rest the specific force points up (REP-145). What the IMU does not measure is None; values that are not
        finite count as such.
        """
        force = np.asarray(specific_force, dtype=np.float64)
        finite_force = bool(np.isfinite(force).all())
        sample = _Sample(
            stamp_ns, force, finite_force and _is_quiet(force, angular_velocity), _up_of(quat_xyzw)
        )
        if not finite_force and sample.up is None:
            return
        with self._lock:
            if self._samples and stamp_ns < self._samples[-1].stamp_ns:
                self._samples.clear()  # time went back
            self._samples.append(sample)
            while self._samples[0].stamp_ns < stamp_ns - _WINDOW_NS:
                self._samples.popleft()

    def up(self) -> Float64Array | None:
        """Return the direction against gravity (3,) in the IMU's frame; None if it is not known."""
        with self._lock:
            samples = list(self._samples)
        if not samples:
            return None
        if samples[-1].up is not None:
            return samples[-1].up
        quiet = [sample.specific_force for sample in samples if sample.is_quiet]
        if len(quiet) <= _QUIET_SHARE * len(samples):
            return None
        mean = np.mean(quiet, axis=0)
        length = float(np.linalg.norm(mean))
        return mean / length if length > 0.5 * _GRAVITY else None


def level_camera_pose(up_camera: Float64Array) -> Float64Array:
    """Return T_map_camera (4, 4), a rotation from the optical camera to a map whose z is ``up_camera`` (3,).

    The optical axis points along x. A vertical optical axis has no heading; then the upper edge of the image points
    along x.

    Raises:
        ValueError: the vector is not finite or has no direction.
    """
    length = np.linalg.norm(up_camera)
    if not _MIN_LENGTH <= length < np.inf:
        msg = f"expected an up vector of non-zero length, got {np.asarray(up_camera).tolist()}"
        raise ValueError(msg)
    z = np.asarray(up_camera, dtype=np.float64) / length
    x = np.array([0.0, 0.0, 1.0]) - z[2] * z
    if np.linalg.norm(x) < _MIN_HEADING:
        x = np.array([0.0, -1.0, 0.0]) + z[1] * z
    x /= np.linalg.norm(x)
    T: Float64Array = np.eye(4)
    T[:3, :3] = x, np.cross(z, x), z
    return T


def _is_quiet(force: Float64Array, angular_velocity: Float64Array | None) -> bool:
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(force))
    if abs(length - _GRAVITY) > _QUIET_FORCE:
        return False
    if angular_velocity is None or not np.isfinite(angular_velocity).all():
        return True
    return bool((np.abs(angular_velocity) < _QUIET_TURN).all()) and (
        float(np.linalg.norm(angular_velocity)) < _QUIET_TURN
    )


def _up_of(quat_xyzw: Float64Array | None) -> Float64Array | None:
    """Return the world's z in the IMU's frame (3,) of an orientation; None if it is none."""
    if quat_xyzw is None:
        return None
    quat = np.asarray(quat_xyzw, dtype=np.float64)
    try:
        normalize_quaternion(quat.tolist())
    except ValueError:  # not finite, or too short or long for a direction
        return None
    up: Float64Array = rotation_from_quat_wxyz(quat[[3, 0, 1, 2]])[2]
    return up
