# SPDX-License-Identifier: Apache-2.0
"""Optional ROS Python packages: each name below is the genuine package where it imports and works, else None.

Callers use cv_bridge, sensor_msgs_py, tf_transformations and tf2_ros where they are present, and OpenCV, NumPy
and a plain publisher otherwise. ``TTT3R_ROS_COMPAT=plain`` in the environment disables all four.
"""

from __future__ import annotations

import array
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import Image, PointField
from std_msgs.msg import Header

from ttt3r_ros.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_VARIABLE = "TTT3R_ROS_COMPAT"
_PURPOSES = {  # package and stand-in
    "images": ("cv_bridge", "OpenCV"),
    "clouds": ("sensor_msgs_py", "NumPy"),
    "rotations": ("tf_transformations", "NumPy"),
    "transforms": ("tf2_ros", "own publisher"),
}
_reasons: dict[str, str] = {}  # why a package is not used


def _load_cv_bridge() -> Any:
    from cv_bridge import CvBridge  # noqa: PLC0415

    bridge = CvBridge()
    bgr = Image(height=1, width=2, encoding="bgr8", step=6, data=array.array("B", [1, 2, 3, 4, 5, 6]))
    _require(np.asarray(bridge.imgmsg_to_cv2(bgr, "rgb8")), [[[3, 2, 1], [6, 5, 4]]])
    return bridge


def _load_create_cloud() -> Any:
    from sensor_msgs_py.point_cloud2 import create_cloud  # noqa: PLC0415

    point = np.array([(1.5,)], dtype=[("x", "<f4")])
    field = PointField(name="x", offset=0, datatype=PointField.FLOAT32, count=1)
    cloud = create_cloud(Header(), [field], point)
    _require(np.frombuffer(cloud.data, dtype="<f4"), [1.5])
    return create_cloud


def _load_tf_transformations() -> Any:
    import tf_transformations  # noqa: PLC0415

    _require(np.abs(tf_transformations.quaternion_from_matrix(np.eye(4))), [0.0, 0.0, 0.0, 1.0])
    return tf_transformations


def _load_broadcaster() -> Any:
    from tf2_ros import TransformBroadcaster  # noqa: PLC0415

    return TransformBroadcaster


def _require(result: Any, expected: list[Any]) -> None:
    if not np.allclose(result, expected):
        msg = f"converted a test value to {result.tolist()}, expected {expected}"
        raise ValueError(msg)


def _load(package: str, load: Callable[[], Any]) -> Any:
    choice = os.environ.get(_VARIABLE, "auto")
    if choice not in {"auto", "plain"}:
        msg = f"{_VARIABLE} is '{choice}'; expected 'auto' or 'plain'"
        raise ConfigError(msg)
    if choice == "plain":
        _reasons[package] = f"{_VARIABLE}=plain"
        return None
    try:
        return load()
    except ImportError as error:
        _reasons[package] = f"{package} not importable: {error}"
    except Exception as error:  # a NumPy ABI conflict raises any type (vision_opencv#535)
        _reasons[package] = f"{package} not usable: {type(error).__name__}: {error}"
    return None


cv_bridge = _load("cv_bridge", _load_cv_bridge)
create_cloud = _load("sensor_msgs_py", _load_create_cloud)
tf_transformations = _load("tf_transformations", _load_tf_transformations)
broadcaster_class = _load("tf2_ros", _load_broadcaster)


def providers() -> dict[str, str]:
    """Return the provider of each purpose: a package, or its stand-in with the reason."""
    return {
        purpose: f"{stand_in} ({_reasons[package]})" if package in _reasons else package
        for purpose, (package, stand_in) in _PURPOSES.items()
    }


def describe_providers() -> str:
    """Return `providers` as one line for the log."""
    return "; ".join(f"{purpose}: {provider}" for purpose, provider in providers().items())
