# SPDX-License-Identifier: Apache-2.0
"""Conversion of image messages to arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import ImageError
from ttt3r_ros.images import encodings as pixels
from ttt3r_ros.images.depth import decode_depth
from ttt3r_ros.ros import compat

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image

    from ttt3r_ros.types import Float32Array, UInt8Array

# In some supported distribution cv_bridge does not convert these, or not to the right colors.
_NOT_FOR_CV_BRIDGE = {"8UC1", "8UC3", "8UC4", "16UC1", "nv12", "nv21", "uyvy", "yuyv"}


def raw_image(msg: Image) -> pixels.RawImage:
    """Return the fields of an image message; the data are a view of the message."""
    return pixels.RawImage(
        encoding=msg.encoding,
        width=msg.width,
        height=msg.height,
        step=msg.step,
        big_endian=bool(msg.is_bigendian),
        data=np.frombuffer(msg.data, dtype=np.uint8),
    )


def image_to_rgb(msg: Image) -> UInt8Array:
    """Return (H, W, 3) RGB of a color, gray, YUV or Bayer image, maybe a read-only view of the message.

    Samples of 16 bits are scaled by 255/65535 and rounded. 8UC3 and 8UC4 are read as BGR and BGRA, OpenCV's
    convention; 8UC1 and 16UC1 as gray.

    Raises:
        ImageError: another encoding, or data that do not fit the size.
    """
    raw = raw_image(msg)
    layout = pixels.validate_image(raw)
    if compat.cv_bridge is not None and _suits_cv_bridge(raw, layout):
        return _rgb_from_cv_bridge(msg)
    return pixels.decode_image(raw, layout)


def compressed_to_rgb(msg: CompressedImage) -> UInt8Array:
    """Return (H, W, 3) RGB of a JPEG or PNG. Not by cv_bridge, which leaves 16-bit samples as they are.

    Raises:
        ImageError: the data are incomplete or of another format.
    """
    return pixels.decode_compressed(msg.format, np.frombuffer(msg.data, dtype=np.uint8))


def depth_from_image(msg: Image) -> Float32Array:
    """Return depth (H, W) [m], NaN unknown, of a 32FC1 image in meters or a 16UC1 image in millimeters.

    Raises:
        ImageError: another encoding, or data that do not fit the size.
    """
    return decode_depth(raw_image(msg))


def _suits_cv_bridge(raw: pixels.RawImage, layout: pixels.PixelFormat) -> bool:
    """Return whether cv_bridge decodes this image correctly.

    It shears rows padded by a fraction of a pixel, and fails on big-endian images under NumPy 2.
    """
    is_packed = raw.step == layout.row_bytes(raw.width)
    return raw.encoding not in _NOT_FOR_CV_BRIDGE and is_packed and not raw.big_endian


def _rgb_from_cv_bridge(msg: Image) -> UInt8Array:
    try:
        rgb = compat.cv_bridge.imgmsg_to_cv2(msg, "rgb8")
    except Exception as error:
        text = f"cv_bridge cannot convert '{msg.encoding}' {msg.width}x{msg.height} to rgb8: {error}"
        raise ImageError(text) from error
    return np.ascontiguousarray(rgb, dtype=np.uint8)
