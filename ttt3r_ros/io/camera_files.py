# SPDX-License-Identifier: Apache-2.0
"""Calibration files of ROS's camera_calibration, OpenCV, Kalibr and EuRoC (YAML), and ``camera.json``."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import ConfigError, SourceError, short_text
from ttt3r_ros.images.calibration import Calibration, Pinhole, calibration_of
from ttt3r_ros.images.lens_models import EQUIDISTANT, PLUMB_BOB, find_lens
from ttt3r_ros.text_files import read_json, read_yaml
from ttt3r_ros.types import Intrinsics

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

_MAX_SIDE_PX = 10**6
_JSON = "a JSON object with fx, fy, cx, cy, width and height"
_EXPECTED = (
    "a calibration of ROS (camera_matrix, distortion_model, distortion_coefficients, image_width, image_height), "
    "OpenCV (camera_matrix, distortion_coefficients), Kalibr (cam0) or EuRoC (intrinsics, resolution)"
)
# Keys of ROS and OpenCV, without case and underscores.
_MATRIX = ("cameramatrix", "k", "m", "m1", "k1", "intrinsics", "intrinsicmatrix")
_COEFFICIENTS = ("distortioncoefficients", "distortioncoeffs", "distcoeffs", "distcoeff", "d", "d1")
_PROJECTION = ("projectionmatrix", "p", "p1")
_WIDTH, _HEIGHT = ("imagewidth", "width"), ("imageheight", "height")


def read_camera_file(path: Path, image_topic: str = "") -> Calibration:
    """Return the calibration in a file; of several cameras that of the topic, else the first, with a warning.

    Raises:
        SourceError: the file cannot be read, is not a calibration, or its lens model is not supported.
    """
    if path.suffix.lower() == ".json":
        calibration = calibration_of(parse_intrinsics(read_json(path), path))
    else:
        content = read_yaml(path)
        try:
            calibration = _parse_yaml(content, path, image_topic)
        except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
            problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            msg = f"{path}: expected {_EXPECTED} ({' '.join(problem.split())[:200]})"
            raise SourceError(msg) from error
    try:
        lens = find_lens(calibration.distortion_model, calibration.distortion)
        if calibration.width and calibration.height:
            calibration.intrinsics(calibration.width, calibration.height, is_rectified=False)
    except ConfigError as error:
        msg = f"{path}: {error}"
        raise SourceError(msg) from error
    if lens.remark:
        logger.warning("%s: %s", path, lens.remark)
    return calibration


def parse_intrinsics(camera: dict[str, Any], path: Path) -> Intrinsics:
    """Return the pinhole camera of a JSON object.

    Raises:
        SourceError: a key is missing or not a number; the message names the file.
    """
    try:
        fx, fy, cx, cy = (finite_number(camera[key]) for key in ("fx", "fy", "cx", "cy"))
        size = positive_integer(camera["width"]), positive_integer(camera["height"])
        return _require_focal_lengths(Intrinsics(fx, fy, cx, cy, *size))
    except (ValueError, KeyError, TypeError) as error:
        raise _camera_error(path, _JSON, error) from error


def finite_number(value: Any) -> float:
    """Return a number, or the number in a text, as float; raise `ValueError` unless it is finite."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        msg = f"{short_text(value)} is not a finite number"
        raise ValueError(msg)
    return number


def positive_integer(value: Any) -> int:
    """Return a count of pixels; raise `ValueError` unless it is whole and positive."""
    number = finite_number(value)
    if number < 1 or number != int(number) or number > _MAX_SIDE_PX:
        msg = f"{short_text(value)} is not a number of pixels"
        raise ValueError(msg)
    return int(number)


def _require_focal_lengths(camera: Intrinsics) -> Intrinsics:
    if min(camera.fx, camera.fy) <= 0:
        msg = f"fx is {camera.fx:g} and fy {camera.fy:g}; expected focal lengths above 0"
        raise ValueError(msg)
    return camera


def parse_sensor(sensor: dict[str, Any]) -> Calibration:
    """Return the camera of Kalibr's camchain or of an EuRoC sensor.yaml.

    Raises:
        ConfigError: it is no pinhole camera.
        KeyError, TypeError, ValueError: a key is missing or has another kind of value.
    """
    projection = str(sensor.get("camera_model", "pinhole"))
    if projection != "pinhole":  # its parameters are no focal lengths of a pinhole camera
        msg = f"camera_model '{projection}' is not supported; expected pinhole"
        raise ConfigError(msg)
    fx, fy, cx, cy = _numbers(sensor["intrinsics"])
    width, height = (positive_integer(value) for value in sensor["resolution"])
    key = "distortion_coeffs" if "distortion_coeffs" in sensor else "distortion_coefficients"
    coefficients = _numbers(sensor.get(key) or ())
    return Calibration((fx, fy, cx, cy), width, height, str(sensor["distortion_model"]), coefficients)


def _parse_yaml(content: Any, path: Path, image_topic: str) -> Calibration:
    if not isinstance(content, dict):
        msg = f"it contains {type(content).__name__}"
        raise TypeError(msg)
    cameras = {
        str(name): camera
        for name, camera in content.items()
        if isinstance(camera, dict) and "intrinsics" in camera
    }
    try:
        if cameras:
            return parse_sensor(cameras[_select(cameras, path, image_topic)])
        if "resolution" in content:
            return parse_sensor(content)
    except ConfigError as error:
        msg = f"{path}: {error}"
        raise SourceError(msg) from error
    return _parse_matrices(content)


def _select(cameras: dict[str, Any], path: Path, image_topic: str) -> str:
    by_topic = [
        name for name, camera in cameras.items() if image_topic and camera.get("rostopic") == image_topic
    ]
    first = (by_topic or sorted(cameras))[0]
    if len(cameras) > 1 and not by_topic:
        logger.warning("%s has the cameras %s; %s is used", path, ", ".join(sorted(cameras)), first)
    return first


def _parse_matrices(content: dict[str, Any]) -> Calibration:
    """Return the camera of a file of ROS's camera_calibration or of OpenCV."""
    plain = {str(key).replace("_", "").lower(): value for key, value in content.items()}
    K = _numbers(_first(plain, _MATRIX, "camera_matrix"))
    D = _numbers(_first(plain, _COEFFICIENTS, "distortion_coefficients"))
    P = _numbers(_first(plain, _PROJECTION, None))
    model = plain.get("distortionmodel")
    if model is None:  # OpenCV
        model = EQUIDISTANT if plain.get("fisheyemodel") else PLUMB_BOB
    width, height = _first(plain, _WIDTH, None), _first(plain, _HEIGHT, None)
    if (width is None) != (height is None):
        raise KeyError("image_width" if width is None else "image_height")
    return Calibration(
        _pinhole(K, 3),
        0 if width in (None, 0) else positive_integer(width),
        0 if height in (None, 0) else positive_integer(height),
        str(model),
        D,
        _pinhole(P, 4) if any(P) else None,
    )


def _first(content: dict[str, Any], keys: tuple[str, ...], required: str | None) -> Any:
    """Return the value of the first key that exists; None if there is none and none is required."""
    for key in keys:
        if key in content:
            return content[key]
    if required is not None:
        raise KeyError(required)
    return None


def _numbers(values: Any) -> tuple[float, ...]:
    """Return the numbers of a list, of a list of rows or of a matrix with ``data``."""
    if isinstance(values, dict):
        values = values["data"]
    rows = [row if isinstance(row, list) else [row] for row in values or ()]
    return tuple(finite_number(value) for row in rows for value in row)


def _pinhole(matrix: tuple[float, ...], columns: int) -> Pinhole:
    if len(matrix) != 3 * columns:
        msg = f"a matrix has {len(matrix)} numbers; expected 3x{columns}"
        raise ValueError(msg)
    return matrix[0], matrix[columns + 1], matrix[2], matrix[columns + 2]


def _camera_error(path: Path, expected: str, problem: Exception) -> SourceError:
    found = f"{problem} is missing" if isinstance(problem, KeyError) else str(problem)
    return SourceError(f"{path}: expected {expected} ({' '.join(found.split())[:200]})")
