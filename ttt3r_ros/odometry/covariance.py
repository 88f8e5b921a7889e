# SPDX-License-Identifier: Apache-2.0
"""How sure pose and velocity of the odometry are: a model of the error of single steps, and its growth.

The translation of a step has, along every axis, a standard deviation of ``translation_noise_ratio`` times its length
plus 1 mm; its rotation has, about every axis, ``rotation_noise_ratio`` times its angle plus 1 mrad. Both are multiplied
by 1 + 2 / confidence, which falls from 3 to 1, and by 3 in the first frames after a state reset. Errors of different
steps are independent: an error that all steps share, such as a wrong scale, is not modeled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import so3_log

if TYPE_CHECKING:
    from ttt3r_ros.types import Float64Array

TRANSLATION_FLOOR_M = 0.001
ROTATION_FLOOR_RAD = 0.001
AFTER_RESET = 3.0  # factor on the errors of a state that has seen little
_UNKNOWN_TWIST = 1.0  # variance before the first step [(m/s)^2, (rad/s)^2]
_SHORTEST_S = 1e-3


class OdometryCovariance:
    """Covariances (6, 6) as ROS orders them: x, y, z, then rotations about the fixed axes x, y, z."""

    def __init__(self, translation_noise_ratio: float, rotation_noise_ratio: float) -> None:
        self.translation_noise_ratio = translation_noise_ratio
        self.rotation_noise_ratio = rotation_noise_ratio
        self.reset()

    def reset(self) -> None:
        """Be sure of the pose again; the velocity is unknown."""
        self._rotation: Float64Array = np.eye(3)  # of the body in odom
        self._pose = np.diag([TRANSLATION_FLOOR_M**2] * 3 + [ROTATION_FLOOR_RAD**2] * 3)
        self._twist = np.diag([_UNKNOWN_TWIST] * 6)

    @property
    def pose(self) -> Float64Array:
        """Return the covariance of the pose, along and about the axes of odom [m, rad]."""
        return self._pose

    @property
    def twist(self) -> Float64Array:
        """Return the covariance of the newest step's velocity, along and about the axes of the body [m/s, rad/s]."""
        return self._twist

    def propagate(
        self,
        T_step: Float64Array,
        seconds: float,
        confidence: float,
        *,
        after_reset: bool,
        T_odom_base: Float64Array | None = None,
    ) -> None:
        """Take the next motion (4, 4) of the body in its own frame, and the network's mean confidence of it.

        ``T_odom_base`` (4, 4), where it led, tells the axes of odom; without it they are those of the first body.
        """
        ended = self._rotation @ T_step[:3, :3] if T_odom_base is None else T_odom_base[:3, :3]
        began = ended @ T_step[:3, :3].T
        step = self._step_covariance(T_step, confidence, after_reset=after_reset)
        # A body that is turned wrongly goes on in the wrong direction.
        x, y, z = began @ T_step[:3, 3]
        carried: Float64Array = np.eye(6)
        carried[:3, 3:] = [[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]]
        # Equal along all axes, the step's covariance is the same in odom as in the body.
        pose = carried @ self._pose @ carried.T + step
        self._pose = 0.5 * (pose + pose.T)
        self._twist = step / max(seconds, _SHORTEST_S) ** 2
        self._rotation = ended

    def _step_covariance(
        self, T_step: Float64Array, confidence: float, *, after_reset: bool
    ) -> Float64Array:
        factor = _confidence_inflation(confidence) * (AFTER_RESET if after_reset else 1.0)
        length = float(np.linalg.norm(T_step[:3, 3]))
        angle = float(np.linalg.norm(so3_log(T_step[:3, :3])))
        translation = factor * (self.translation_noise_ratio * length + TRANSLATION_FLOOR_M)
        rotation = factor * (self.rotation_noise_ratio * angle + ROTATION_FLOOR_RAD)
        covariance: Float64Array = np.diag([translation**2] * 3 + [rotation**2] * 3)
        return covariance


def _confidence_inflation(confidence: float) -> float:
    return 1.0 + 2.0 / confidence if confidence > 1.0 else 3.0  # 3 for NaN
