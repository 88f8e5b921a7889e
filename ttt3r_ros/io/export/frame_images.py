# SPDX-License-Identifier: Apache-2.0
"""Images of every frame at the network's resolution, written together.

``rgb/*.jpg``: the network's image. ``depth/*.png``: millimeters along the optical axis, 0: low confidence or behind the
camera. ``confidence/*.png``: thousandths. ``depth_npz/*.npz``: unmasked depth and confidence as float32, pose and K.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ttt3r_ros.errors import OutputError
from ttt3r_ros.images.depth import depth_to_mm, masked_depth
from ttt3r_ros.io.atomic import atomic_write_together

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, UInt8Array, Update

_PATHS = {  # by kind: folder and suffix
    "rgb": ("rgb", ".jpg"),
    "depth": ("depth", ".png"),
    "confidence": ("confidence", ".png"),
    "npz": ("depth_npz", ".npz"),
}
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95)
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)  # higher levels take longer and save little on noise


class FrameImageWriter:
    """Writes the selected kinds of images to sub-folders of a folder."""

    def __init__(self, folder: Path, kinds: set[str], min_confidence: float = 1.0) -> None:
        """Set the kinds, of rgb, depth, confidence and npz; depth below ``min_confidence`` is 0 in depth/*.png."""
        if unknown := sorted(kinds - set(_PATHS)):
            msg = f"cannot write {folder}: kinds of images {unknown}; expected some of {list(_PATHS)}"
            raise OutputError(msg)
        self._folder = folder
        self._kinds = [kind for kind in _PATHS if kind in kinds]
        self._min_confidence = min_confidence

    def add(self, index: int, update: Update) -> None:
        """Write the images of one frame, all or none.

        Raises:
            OutputError: an image cannot be written; the message names all of the frame.
        """
        paths = [self._path(kind, index) for kind in self._kinds]
        if not paths:
            return
        with atomic_write_together(*paths) as files:
            for kind, file in zip(self._kinds, files, strict=True):
                file.write(self._content(kind, update))

    def _path(self, kind: str, index: int) -> Path:
        folder, suffix = _PATHS[kind]
        return self._folder / folder / f"{index:06d}{suffix}"

    def _content(self, kind: str, update: Update) -> bytes:
        if kind == "rgb":
            return _jpeg(update.prediction.rgb)
        if kind == "depth":
            return _png(depth_to_mm(masked_depth(update, self._min_confidence)))
        if kind == "confidence":
            return _png(encode_confidence(update.prediction.confidence))
        return _arrays(update)


def encode_confidence(confidence: Float32Array) -> NDArray[np.uint16]:
    """Return confidence (h, w) in thousandths, at most 65535."""
    thousandths: Float32Array = np.clip(np.rint(confidence * np.float32(1000.0)), 0, 65535)
    return thousandths.astype(np.uint16)


def _jpeg(rgb: UInt8Array) -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _JPEG)[1].tobytes()


def _png(values: NDArray[Any]) -> bytes:
    return cv2.imencode(".png", values, _PNG)[1].tobytes()


def _arrays(update: Update) -> bytes:
    content = io.BytesIO()
    np.savez(
        content,
        depth=update.prediction.points_camera[..., 2].astype(np.float32),
        confidence=update.prediction.confidence.astype(np.float32),
        T_map_camera=update.T_map_camera,
        K=update.intrinsics.matrix(),
    )
    return content.getvalue()
