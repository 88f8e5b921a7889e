# SPDX-License-Identifier: Apache-2.0
"""What a frame must satisfy before it changes trajectory and map, and the way back if it does not."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import PlacementError
from ttt3r_ros.geometry import require_pose
from ttt3r_ros.odometry.covariance import MAX_VARIANCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.odometry.ground_plane import Floor
    from ttt3r_ros.odometry.sensor_context import SensorContext
    from ttt3r_ros.odometry.session import FrameEstimate
    from ttt3r_ros.types import Update

_MAX_POINT = 1e12  # coordinates of the network; squares of larger ones overflow in float32
_MAX_CONFIDENCE = 1e30
_MAX_SCALE = 1e6  # meters per unit of the network
_MAX_FLOOR_Z_M = 1e9
_MIN_UP = 1e-6  # shorter vectors have no direction


class Snapshot:
    """Copies of the attributes of some objects; they may be restored as long as no attribute was added."""

    def __init__(self, parts: Iterable[object]) -> None:
        self._saved = [(part, copy.deepcopy(vars(part))) for part in parts]

    def restore(self) -> None:
        """Set all attributes to the copies."""
        for part, attributes in self._saved:
            vars(part).update(attributes)


def validate_inputs(estimate: FrameEstimate, context: SensorContext) -> None:
    """Validate the result of the network and the sensor data of a frame.

    Raises:
        PlacementError: a value is not finite or absurd.
    """
    prediction = estimate.prediction
    poses = {
        "the network's pose": estimate.T_world_camera,
        "the mount of the camera": context.T_base_camera,
        "external odometry": context.T_odom_base,
    }
    _require_poses({name: T for name, T in poses.items() if T is not None})
    _require_range("a point of the network", prediction.points_camera, -_MAX_POINT, _MAX_POINT)
    _require_range("a confidence of the network", prediction.confidence, 0.0, _MAX_CONFIDENCE)
    if context.up_camera is not None:
        _require_range(
            "the length of the up vector", float(np.linalg.norm(context.up_camera)), _MIN_UP, 1e6
        )


def validate_floor(floor: Floor | None) -> None:
    """Validate a fitted floor; raise `PlacementError` if it is not finite."""
    if floor is not None:
        _require_range("the normal of the floor", floor.normal, -2.0, 2.0)
        _require_range("the height over the floor", floor.height, 0.0, _MAX_POINT)


def validate_update(update: Update, floor_z: float | None) -> None:
    """Validate the placement of a frame, before trajectory and map change.

    Raises:
        PlacementError: a value is not finite or absurd.
    """
    names = ("T_map_odom", "T_odom_base", "T_base_camera", "T_step", "T_map_camera")
    _require_poses({name: getattr(update, name) for name in names})
    camera = update.intrinsics
    _require_range("the scale", update.scale, np.nextafter(0.0, 1.0), _MAX_SCALE)
    _require_range("a focal length", (camera.fx, camera.fy), 1e-6, 1e9)
    _require_range("a principal point", (camera.cx, camera.cy), -1e9, 1e9)
    for name in ("pose_covariance", "twist_covariance"):
        _require_range(f"an entry of {name}", getattr(update, name), -MAX_VARIANCE, MAX_VARIANCE)
    if floor_z is not None:
        _require_range("the height of the floor", floor_z, -_MAX_FLOOR_Z_M, _MAX_FLOOR_Z_M)


def _require_poses(poses: Mapping[str, NDArray[np.float64]]) -> None:
    try:
        require_pose(np.stack(list(poses.values())))  # together, as one call is much faster
    except ValueError:
        for name, T in poses.items():
            try:
                require_pose(T)
            except ValueError as error:  # noqa: PERF203 - only after a failure
                msg = f"{name}: {error}"
                raise PlacementError(msg) from error
        raise


def _require_range(
    name: str, values: NDArray[np.floating] | float | tuple[float, ...], low: float, high: float
) -> None:
    array = np.asarray(values)
    smallest, largest = float(array.min()), float(array.max())  # NaN if one value is
    if not (low <= smallest and largest <= high):
        wrong = smallest if math.isnan(smallest) or smallest < low else largest
        msg = f"{name} is {wrong:g}; expected {low:g} to {high:g}"
        raise PlacementError(msg)
