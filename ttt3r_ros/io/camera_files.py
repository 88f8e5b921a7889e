# SPDX-License-Identifier: Apache-2.0
"""Calibration files: ``camera.json`` of a folder of images, and the YAML of ROS's camera_calibration."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import SourceError
from ttt3r_ros.types import Intrinsics

if TYPE_CHECKING:
    from pathlib import Path

_JSON = "a JSON object with fx, fy, cx, cy, width and height"
_YAML = (
    "YAML with image_width, image_height, camera_matrix, distortion_model and distortion_coefficients"
)


def read_camera_file(path: Path) -> Intrinsics:
    """Return the camera of a calibration file: .json as of a folder of images, else YAML of ROS.

    Raises:
        SourceError: the file cannot be read, or is not a calibration.
    """
    if path.suffix.lower() == ".json":
        return parse_intrinsics(read_camera_json(path), path)
    content = read_yaml(path)
    try:
        K, D = content["camera_matrix"]["data"], content["distortion_coefficients"]["data"]
        return Intrinsics(
            float(K[0]), float(K[4]), float(K[2]), float(K[5]),
            int(content["image_width"]), int(content["image_height"]),
            str(content["distortion_model"]), tuple(float(value) for value in D),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _camera_error(path, _YAML, error) from error


def read_camera_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        SourceError: the file cannot be read, or has no object.
    """
    try:
        camera = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _camera_error(path, _JSON, error) from error
    if not isinstance(camera, dict):
        raise _camera_error(path, _JSON, TypeError(f"{camera!r} is not an object"))
    return camera


def parse_intrinsics(camera: dict[str, Any], path: Path) -> Intrinsics:
    """Return the pinhole camera of a JSON object.

    Raises:
        SourceError: a key is missing or not a number; the message names the file.
    """
    try:
        fx, fy, cx, cy = (float(camera[key]) for key in ("fx", "fy", "cx", "cy"))
        return Intrinsics(fx, fy, cx, cy, int(camera["width"]), int(camera["height"]))
    except (ValueError, KeyError, TypeError) as error:
        raise _camera_error(path, _JSON, error) from error


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file, also of one that OpenCV wrote.

    Raises:
        SourceError: the file cannot be read, is not YAML, or PyYAML is not installed.
    """
    try:
        import yaml  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        msg = f"{path} cannot be read without PyYAML: pip install 'ttt3r_ros[run]'"
        raise SourceError(msg) from error
    try:
        # OpenCV writes "%YAML:1.0", which is not a directive of YAML.
        text = re.sub(r"\A%YAML:.*\n", "", path.read_text(encoding="utf-8", errors="replace"))
        return yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        msg = f"{path} is not YAML: {' '.join(str(error).split())}"
        raise SourceError(msg) from error


def _camera_error(path: Path, expected: str, problem: Exception) -> SourceError:
    return SourceError(f"{path}: expected {expected} ({' '.join(repr(problem).split())})")
