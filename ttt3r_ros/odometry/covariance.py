# SPDX-License-Identifier: Apache-2.0
"""Covariance of pose and velocity: an error model of single steps, and its propagation along the path.

The translation of a step has, along every axis, a standard deviation of ``translation_noise_ratio`` times its length
plus 1 mm; its rotation has, about every axis, ``rotation_noise_ratio`` times its angle plus 1 mrad. Both are multiplied
by 1 + 2 / confidence, which falls from 3 to 1, and by 3 in the first frames after a state reset. Errors of different
steps are independent: an error that all steps share, such as a wrong scale, is not modeled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import se3, so3_log
from ttt3r_ros.state_dict import StateReader, pack_optional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.state_dict import StateDict
    from ttt3r_ros.types import Float64Array

MIN_TRANSLATION_STD_M = 0.001
MIN_ROTATION_STD_RAD = 0.001
STATE_RESET_INFLATION = 3.0  # factor on the standard deviations of the first steps after a state reset
MAX_VARIANCE = 1e30  # [m^2, rad^2]; a larger one is no estimate and overflows later
_INITIAL_TWIST_VARIANCE = 1.0  # before the first step [(m/s)^2, (rad/s)^2]
_MIN_STEP_S = 1e-3


class OdometryCovariance:
    """Covariances (6, 6) in the order of ROS: x, y, z, then rotations about the fixed axes x, y, z."""

    def __init__(self, translation_noise_ratio: float, rotation_noise_ratio: float) -> None:
        self.translation_noise_ratio = translation_noise_ratio
        self.rotation_noise_ratio = rotation_noise_ratio
        self.reset()

    def reset(self) -> None:
        """Reset to a known pose and an unknown velocity."""
        self._R_odom_base: Float64Array = np.eye(3)
        self._pose = np.diag([MIN_TRANSLATION_STD_M**2] * 3 + [MIN_ROTATION_STD_RAD**2] * 3)
        self._twist = np.diag([_INITIAL_TWIST_VARIANCE] * 6)
        self._stamp_ns: int | None = None  # of the previous frame

    def interrupt(self) -> None:
        """Let the next frame add no step: the time since the previous one is unknown."""
        self._stamp_ns = None

    @property
    def pose(self) -> Float64Array:
        """Return the covariance of the pose, along and about the axes of odom [m, rad]."""
        return self._pose

    @property
    def twist(self) -> Float64Array:
        """Return the covariance of the last step's velocity, along and about the axes of the body [m/s, rad/s]."""
        return self._twist

    def update(
        self,
        stamp_ns: int,
        T_step: Float64Array,
        T_odom_base: Float64Array,
        confidence: float,
        *,
        after_reset: bool,
    ) -> None:
        """Propagate to a frame: its step and its pose (4, 4), and the mean confidence of its prediction."""
        if self._stamp_ns is not None:
            step_s = max(_MIN_STEP_S, (stamp_ns - self._stamp_ns) * 1e-9)
            self.propagate(T_step, step_s, confidence, after_reset=after_reset, T_odom_base=T_odom_base)
        self._stamp_ns = stamp_ns

    def propagate(
        self,
        T_step: Float64Array,
        step_s: float,
        confidence: float,
        *,
        after_reset: bool,
        T_odom_base: Float64Array | None = None,
    ) -> None:
        """Add one step (4, 4) of the body, in its own frame.

        ``T_odom_base`` (4, 4) is the pose after the step. Without it, odom is the body frame before the first step.
        """
        R_after = self._R_odom_base @ T_step[:3, :3] if T_odom_base is None else T_odom_base[:3, :3]
        R_before = R_after @ T_step[:3, :3].T
        step = self._step_covariance(T_step, confidence, after_reset=after_reset)
        # The Jacobian of the new pose by the old one: a wrong heading displaces the end of the step.
        x, y, z = R_before @ T_step[:3, 3]
        jacobian: Float64Array = np.eye(6)
        jacobian[:3, 3:] = [[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]]
        # The step's covariance is isotropic, so it is the same in odom as in the body frame.
        pose = jacobian @ self._pose @ jacobian.T + step
        self._pose = 0.5 * (pose + pose.T)
        self._twist = step / max(step_s, _MIN_STEP_S) ** 2
        self._R_odom_base = R_after

    def _step_covariance(
        self, T_step: Float64Array, confidence: float, *, after_reset: bool
    ) -> Float64Array:
        factor = _confidence_inflation(confidence) * (STATE_RESET_INFLATION if after_reset else 1.0)
        length = float(np.linalg.norm(T_step[:3, 3]))
        angle = float(np.linalg.norm(so3_log(T_step[:3, :3])))
        translation = factor * (self.translation_noise_ratio * length + MIN_TRANSLATION_STD_M)
        rotation = factor * (self.rotation_noise_ratio * angle + MIN_ROTATION_STD_RAD)
        covariance: Float64Array = np.diag([translation**2] * 3 + [rotation**2] * 3)
        return covariance

    def state_dict(self) -> StateDict:
        """Return a copy of the covariances and of what the next step is added to."""
        return {
            "R_odom_base": self._R_odom_base.copy(),
            "pose": self._pose.copy(),
            "twist": self._twist.copy(),
            "stamp_ns": pack_optional(self._stamp_ns, np.int64, ()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid; nothing has changed.
        """
        with StateReader(state, "covariance") as read:
            R_odom_base = read.array("R_odom_base", np.float64, (3, 3))
            read.validate_poses("R_odom_base", se3(R_odom_base, np.zeros(3)))
            pose, twist = (
                read.array(name, np.float64, (6, 6), maximum=MAX_VARIANCE) for name in ("pose", "twist")
            )
            for name, matrix in (("pose", pose), ("twist", twist)):
                is_covariance = (matrix == matrix.T).all() and (np.diag(matrix) >= 0.0).all()
                read.require(is_covariance, f"{name} is not a covariance")
            stamp_ns = read.optional("stamp_ns", np.int64, ())
        self._R_odom_base, self._pose, self._twist = R_odom_base, pose, twist
        self._stamp_ns = None if stamp_ns is None else int(stamp_ns)


def _confidence_inflation(confidence: float) -> float:
    return 1.0 + 2.0 / confidence if confidence > 1.0 else 3.0  # 3 for NaN
