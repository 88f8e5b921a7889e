# SPDX-License-Identifier: Apache-2.0
"""Calibrations as files: ``camera.json`` of a folder of images, and the YAML of ROS's camera_calibration."""

from __future__ import annotations

import json
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
    """Return the camera that a file describes: JSON as beside a folder of images, else YAML as ROS writes it.

    Raises:
        SourceError: it cannot be read, or describes no camera.
    """
    if path.suffix.lower() == ".json":
        return parse_intrinsics(read_camera_json(path), path)
    import yaml  # noqa: PLC0415 - who reads no such file need not have it

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        K, D = content["camera_matrix"]["data"], content["distortion_coefficients"]["data"]
        return Intrinsics(
            float(K[0]), float(K[4]), float(K[2]), float(K[5]),
            int(content["image_width"]), int(content["image_height"]),
            str(content["distortion_model"]), tuple(float(value) for value in D),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, IndexError, yaml.YAMLError) as error:
        raise _no_camera(path, _YAML, error) from error


def read_camera_json(path: Path) -> dict[str, Any]:
    """Return the object in a file.

    Raises:
        SourceError: there is none.
    """
    try:
        camera = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _no_camera(path, _JSON, error) from error
    if not isinstance(camera, dict):
        raise _no_camera(path, _JSON, TypeError(f"{camera!r} is no object"))
    return camera


def parse_intrinsics(camera: dict[str, Any], path: Path) -> Intrinsics:
    """Return the camera that an object describes.

    Raises:
        SourceError: something is missing, or no number; the message names the file.
    """
    try:
        fx, fy, cx, cy = (float(camera[key]) for key in ("fx", "fy", "cx", "cy"))
        return Intrinsics(fx, fy, cx, cy, int(camera["width"]), int(camera["height"]))
    except (ValueError, KeyError, TypeError) as error:
        raise _no_camera(path, _JSON, error) from error


def _no_camera(path: Path, expected: str, problem: Exception) -> SourceError:
    return SourceError(f"{path}: expected {expected} ({' '.join(repr(problem).split())})")
