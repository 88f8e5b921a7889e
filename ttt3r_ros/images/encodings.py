# SPDX-License-Identifier: Apache-2.0
"""Decoding of camera images into RGB, with NumPy and OpenCV alone and without message types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ttt3r_ros.errors import ImageError
from ttt3r_ros.images.image_header import require_decodable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import UInt8Array


@dataclass(frozen=True)
class PixelFormat:
    """Memory layout of the pixels of one encoding."""

    channels: int
    bits: int  # 32: floating point
    to_rgb: int | None  # OpenCV's conversion code; None: the samples are RGB
    width_multiple: int = 1
    height_multiple: int = 1
    min_side_px: int = 1
    chroma_rows: bool = False  # half as many rows of chroma follow the rows of luma

    def row_bytes(self, width: int) -> int:
        """Return the bytes of one row without padding."""
        return width * self.channels * self.bits // 8

    def row_count(self, height: int) -> int:
        """Return the rows in the data, chroma included."""
        return height * 3 // 2 if self.chroma_rows else height


@dataclass(frozen=True)
class RawImage:
    """The content of a sensor_msgs/Image; ``data`` is the flat bytes."""

    encoding: str
    width: int
    height: int
    step: int
    big_endian: bool
    data: UInt8Array


_WIDE_SAMPLES: dict[int, type[Any]] = {16: np.uint16, 32: np.float32}

# ROS names a Bayer pattern by its first four pixels, OpenCV by those from the second row and column on.
_BAYER_TO_RGB = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}


def _pixel_formats() -> dict[str, PixelFormat]:
    """Return every accepted encoding by its ROS name."""
    formats = {
        # Encodings without a color name are BGR by OpenCV's convention.
        "8UC1": PixelFormat(1, 8, cv2.COLOR_GRAY2RGB),
        "8UC3": PixelFormat(3, 8, cv2.COLOR_BGR2RGB),
        "8UC4": PixelFormat(4, 8, cv2.COLOR_BGRA2RGB),
        "16UC1": PixelFormat(1, 16, cv2.COLOR_GRAY2RGB),
        "nv12": PixelFormat(1, 8, cv2.COLOR_YUV2RGB_NV12, 2, 2, chroma_rows=True),
        "nv21": PixelFormat(1, 8, cv2.COLOR_YUV2RGB_NV21, 2, 2, chroma_rows=True),
    }
    # Both the old and the new name of each format are in use.
    for name, code in (
        ("yuv422", cv2.COLOR_YUV2RGB_UYVY),
        ("uyvy", cv2.COLOR_YUV2RGB_UYVY),
        ("yuv422_yuy2", cv2.COLOR_YUV2RGB_YUY2),
        ("yuyv", cv2.COLOR_YUV2RGB_YUY2),
    ):
        formats[name] = PixelFormat(2, 8, code, width_multiple=2)
    for bits in (8, 16):
        formats[f"rgb{bits}"] = PixelFormat(3, bits, None)
        formats[f"bgr{bits}"] = PixelFormat(3, bits, cv2.COLOR_BGR2RGB)
        formats[f"rgba{bits}"] = PixelFormat(4, bits, cv2.COLOR_RGBA2RGB)
        formats[f"bgra{bits}"] = PixelFormat(4, bits, cv2.COLOR_BGRA2RGB)
        formats[f"mono{bits}"] = PixelFormat(1, bits, cv2.COLOR_GRAY2RGB)
        for pattern, code in _BAYER_TO_RGB.items():
            # OpenCV returns black for a Bayer image of less than three rows or columns.
            formats[f"bayer_{pattern}{bits}"] = PixelFormat(1, bits, code, min_side_px=3)
    return formats


PIXEL_FORMATS = _pixel_formats()


def pixel_format(encoding: str) -> PixelFormat:
    """Return the format of an encoding; raise `ImageError` if it is not one of camera images."""
    found = PIXEL_FORMATS.get(encoding)
    if found is not None:
        return found
    accepted = ", ".join(sorted(PIXEL_FORMATS))
    if re.match(r"(32|64)FC\d", encoding):
        problem = "holds floating point data; a color or gray camera image is expected"
    else:
        problem = "is unknown"
    msg = f"encoding '{encoding}' {problem}; accepted are {accepted}"
    raise ImageError(msg)


def validate_image(raw: RawImage) -> PixelFormat:
    """Return the format of an image; raise `ImageError` unless size, step and data agree with it."""
    found = pixel_format(raw.encoding)
    validate_data(raw, found)
    return found


def validate_data(raw: RawImage, layout: PixelFormat) -> None:
    """Raise `ImageError` unless size, step and data agree with the format."""
    _validate_size(raw, layout)
    row_bytes = layout.row_bytes(raw.width)
    if raw.step < row_bytes:
        msg = (
            f"step {raw.step} is too small for '{raw.encoding}' {raw.width}x{raw.height}: "
            f"expected at least {row_bytes} bytes"
        )
        raise ImageError(msg)
    expected = raw.step * layout.row_count(raw.height)
    if raw.data.size != expected:
        msg = (
            f"'{raw.encoding}' {raw.width}x{raw.height} with step {raw.step} has {raw.data.size} bytes "
            f"of data, expected {expected}"
        )
        raise ImageError(msg)


def _validate_size(raw: RawImage, layout: PixelFormat) -> None:
    size = f"'{raw.encoding}' image of {raw.width}x{raw.height}"
    if min(raw.width, raw.height) < layout.min_side_px:
        msg = f"{size}: expected at least {layout.min_side_px}x{layout.min_side_px} pixels"
        raise ImageError(msg)
    if raw.width % layout.width_multiple or raw.height % layout.height_multiple:
        msg = f"{size}: expected multiples of {layout.width_multiple}x{layout.height_multiple} pixels"
        raise ImageError(msg)


def decode_image(raw: RawImage, layout: PixelFormat) -> UInt8Array:
    """Return (H, W, 3) RGB of an image that `validate_image` accepted.

    16-bit samples are scaled by 255/65535 and rounded, as cv_bridge does. The result for an rgb8 image without padding
    is a read-only view of its data.
    """
    image = unpack_samples(raw, layout)
    if layout.to_rgb is not None:
        image = np.asarray(cv2.cvtColor(image, layout.to_rgb))
    rgb = np.ascontiguousarray(to_8_bit(image))
    if np.may_share_memory(rgb, raw.data):
        rgb.flags.writeable = False
    return rgb


def unpack_samples(raw: RawImage, layout: PixelFormat) -> NDArray[Any]:
    """Return the samples (rows, width, channels) in native byte order, without padding."""
    row_count = layout.row_count(raw.height)
    rows: NDArray[Any] = raw.data.reshape(row_count, raw.step)[:, : layout.row_bytes(raw.width)]
    if layout.bits > 8:
        native = np.dtype(_WIDE_SAMPLES[layout.bits])
        stored = native.newbyteorder(">" if raw.big_endian else "<")
        rows = np.ascontiguousarray(rows).view(stored).astype(native, copy=False)
    return rows.reshape(row_count, raw.width, layout.channels)


def to_8_bit(image: NDArray[Any]) -> UInt8Array:
    """Return 16-bit samples scaled by 255/65535 and rounded, 8-bit samples unchanged."""
    if image.dtype == np.uint16:
        return np.asarray(cv2.convertScaleAbs(image, alpha=255.0 / 65535.0), dtype=np.uint8)
    return np.asarray(image, dtype=np.uint8)


def decode_compressed(image_format: str, data: UInt8Array) -> UInt8Array:
    """Return (H, W, 3) RGB of a JPEG or PNG; raise `ImageError` for other or truncated data.

    ``image_format`` is the field of the message, such as "jpeg" or "rgb8; jpeg compressed bgr8". Alpha is dropped; 16
    bits become 8 as in `decode_image`. An EXIF rotation is ignored: the calibration refers to the image as stored.
    """
    described = f"compressed image, format '{image_format}', {data.size} bytes"
    if "compressedDepth" in image_format:
        msg = f"{described}: it holds depth; a color or gray camera image is expected"
        raise ImageError(msg)
    content = data.tobytes()
    _validate_end(content, described)
    require_decodable(content, described)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        msg = f"{described}: OpenCV cannot decode it: {error}"
        raise ImageError(msg) from error
    if image is None:
        msg = f"{described}: the data are damaged; expected a valid JPEG or PNG"
        raise ImageError(msg)
    return np.ascontiguousarray(to_8_bit(_opencv_to_rgb(np.asarray(image), image_format)))


def _validate_end(data: bytes, described: str) -> None:
    """Raise `ImageError` for truncated data, whose missing part decoders fill with gray without an error."""
    if data.startswith(b"\xff\xd8\xff"):
        complete, end = _jpeg_has_end(data), "end-of-image marker"
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        complete, end = b"IEND\xaeB`\x82" in data, "IEND chunk"
    else:
        start = data[:8].hex(" ") or "nothing"
        msg = f"{described}: expected JPEG or PNG, but the data start with {start}"
        raise ImageError(msg)
    if not complete:
        msg = f"{described}: truncated, the {end} is missing"
        raise ImageError(msg)


def _jpeg_has_end(data: bytes) -> bool:
    """Return whether an end-of-image marker follows the start of scan.

    Segments before the scan are skipped by their length: a thumbnail there has an end marker of its own.
    """
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        if data[position + 1] == 0xDA:
            return data.find(b"\xff\xd9", position) >= 0
        if data[position + 1] == 0xFF:  # a fill byte before a marker
            position += 1
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def _opencv_to_rgb(image: NDArray[Any], image_format: str) -> NDArray[Any]:
    """Return RGB of a gray, BGR or BGRA image of `cv2.imdecode`."""
    if image.ndim == 3:
        code = cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGB
        return np.asarray(cv2.cvtColor(image, code))
    # image_transport compresses a Bayer image as gray and names its pattern before the semicolon.
    source_encoding = image_format.split(";", maxsplit=1)[0].strip()
    pattern = source_encoding.removeprefix("bayer_")[:4]
    return np.asarray(cv2.cvtColor(image, _BAYER_TO_RGB.get(pattern, cv2.COLOR_GRAY2RGB)))
