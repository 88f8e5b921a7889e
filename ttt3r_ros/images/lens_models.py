# SPDX-License-Identifier: Apache-2.0
"""Names and coefficients of lens models: which of them OpenCV can undistort, under which ROS name."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ttt3r_ros.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ttt3r_ros.types import Intrinsics

PLUMB_BOB, RATIONAL, EQUIDISTANT = "plumb_bob", "rational_polynomial", "equidistant"
SUPPORTED = (
    "plumb_bob or radtan (4 or 5 coefficients), rational_polynomial (8, 12 or 14), "
    "equidistant or fisheye (4)"
)
_POLYNOMIAL_COUNTS = (5, 8, 12, 14)  # of cv2.projectPoints; 4 is 5 with k3 = 0
_MIN_COUNT = 4
_EQUIDISTANT_COUNT = 4

# Names without case, punctuation and a leading "pinhole" (Kalibr: pinhole-equi).
_POLYNOMIAL = {
    "plumbbob", "radtan", "radialtangential", "tangentialradial", "brown", "brownconrady", "opencv", "fullopencv",
    "polynomial", "rationalpolynomial", "rational", "thinprism", "rationalthinprism", "thinprismrational", "tilted",
    "standard", "perspective",
}  # fmt: skip
_EQUIDISTANT = {
    "equidistant", "equi", "equidist", "fisheye", "opencvfisheye", "kannalabrandt", "kannalabrandt4", "kannalabrandt8",
    "kb", "kb4", "kb8",
}  # fmt: skip
_WITHOUT_DISTORTION = {"none", "nodistortion", "undistorted", "rectified", "ideal", "null"}
# No pinhole cameras, even if all coefficients are 0: xi, alpha or the angle are in other parameters.
_NOT_PINHOLE = (
    "ds", "doublesphere", "eucm", "ucm", "extendedunified", "unified", "omni", "mei", "catadioptric", "scaramuzza",
    "ocam", "fov", "atan", "ftheta", "equirectangular", "spherical", "cylindrical", "stereographic", "orthographic",
    "equisolid",
)  # fmt: skip


@dataclass(frozen=True)
class Lens:
    """A lens model that OpenCV supports; ``remark`` names an assumption about an incomplete description."""

    model: str  # PLUMB_BOB, RATIONAL or EQUIDISTANT; empty: no distortion
    coefficients: tuple[float, ...]
    remark: str = ""


def find_lens(name: str, coefficients: Sequence[float]) -> Lens:
    """Return the lens that a name and coefficients of any source describe.

    OpenCV and ROS order the coefficients of the polynomial alike: k1, k2, p1, p2, k3 to k6, s1 to s4, tx, ty. Their
    number selects the ROS name, since drivers publish eight of them as plumb_bob, too.

    Raises:
        ConfigError: the model is unknown, or the number of coefficients is not one of that model.
    """
    plain = "".join(filter(str.isalnum, name.lower()))
    plain = plain.removeprefix("pinhole") or ("pinhole" if plain else "")
    values = tuple(float(value) for value in coefficients)
    if not all(map(math.isfinite, values)):
        msg = f"distortion model '{name}' has coefficients {list(values)}; expected finite numbers"
        raise ConfigError(msg)
    if plain.startswith(_NOT_PINHOLE):
        msg = f"distortion model '{name}' is not supported; supported are {SUPPORTED}"
        raise ConfigError(msg)
    if plain in _EQUIDISTANT and values:
        return Lens(EQUIDISTANT, _equidistant(name, values))
    if not any(values):
        return Lens("", ())
    if plain in _WITHOUT_DISTORTION:
        return Lens("", (), f"distortion model '{name}' has coefficients {list(values)}: ignored")
    if plain in _POLYNOMIAL:
        return _polynomial(name, values)
    if plain in ("", "pinhole"):
        lens = _polynomial(name, values)
        remark = f"distortion model '{name}' has coefficients {list(values)}: taken as {lens.model}"
        return replace(lens, remark=remark)
    msg = f"distortion model '{name}' is unknown; supported are {SUPPORTED}"
    raise ConfigError(msg)


def with_ros_lens(camera: Intrinsics) -> Intrinsics:
    """Return a camera with the ROS name of its lens model and that number of coefficients; raises as `find_lens`."""
    model, coefficients = camera.distortion_model, camera.distortion
    lens = find_lens(model, coefficients)
    is_plain = not any(coefficients) and model in ("", PLUMB_BOB, RATIONAL)
    if is_plain or (lens.model, lens.coefficients) == (model, coefficients):
        return camera
    return replace(camera, distortion_model=lens.model, distortion=lens.coefficients)


def _polynomial(name: str, values: tuple[float, ...]) -> Lens:
    used = max((index + 1 for index, value in enumerate(values) if value), default=0)
    count = next((count for count in _POLYNOMIAL_COUNTS if used <= count), None)
    is_complete = len(values) >= _MIN_COUNT and (
        used <= _POLYNOMIAL_COUNTS[0] or len(values) in _POLYNOMIAL_COUNTS
    )
    if count is None or not (is_complete or len(values) > _POLYNOMIAL_COUNTS[-1]):
        raise _wrong_count(name, values)
    return Lens(PLUMB_BOB if count == _POLYNOMIAL_COUNTS[0] else RATIONAL, _resize(values, count))


def _equidistant(name: str, values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) < _EQUIDISTANT_COUNT or any(values[_EQUIDISTANT_COUNT:]):
        raise _wrong_count(name, values)
    return values[:_EQUIDISTANT_COUNT]


def _resize(values: tuple[float, ...], count: int) -> tuple[float, ...]:
    return values[:count] + (0.0,) * (count - len(values))


def _wrong_count(name: str, values: tuple[float, ...]) -> ConfigError:
    return ConfigError(
        f"distortion model '{name}' has {len(values)} coefficients {list(values)}; supported are {SUPPORTED}"
    )
