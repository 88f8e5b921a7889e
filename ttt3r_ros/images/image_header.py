# SPDX-License-Identifier: Apache-2.0
"""Size of a compressed image by its header alone: a small file can decode to many gigabytes."""

from __future__ import annotations

import io
from typing import Any

from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ttt3r_ros.errors import ImageError

MAX_IMAGE_PIXELS = 100_000_000
# The plugins read the header only. `Image.open` has a limit of its own, without the size in its message.
_READERS: dict[bytes, Any] = {
    b"\x89PNG": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    b"BM": BmpImageFile,
    b"RIFF": WebPImageFile,
    b"II": TiffImageFile,
    b"MM": TiffImageFile,
}


class TooManyPixelsError(ImageError):
    """The header announces more than `MAX_IMAGE_PIXELS`."""


def read_image_size(data: bytes) -> tuple[int, int]:
    """Return width and height by the header of a PNG, JPEG, BMP, WebP or TIFF.

    Raises:
        ImageError: another format, or a damaged header.
    """
    reader = next((reader for start, reader in _READERS.items() if data.startswith(start)), None)
    if reader is None:
        msg = f"expected PNG, JPEG, BMP, WebP or TIFF, but the data start with {data[:4].hex(' ') or 'nothing'}"
        raise ImageError(msg)
    try:
        with reader(io.BytesIO(data)) as image:
            width, height = image.size
    except Exception as error:  # a damaged header raises exceptions of many types
        msg = f"the data are damaged, the header cannot be read: {' '.join(str(error).split())[:100]}"
        raise ImageError(msg) from error
    return int(width), int(height)


def require_decodable(data: bytes, described: str) -> None:
    """Raise `ImageError` if the header is damaged, or the image has more than `MAX_IMAGE_PIXELS`."""
    try:
        width, height = read_image_size(data)
    except ImageError as error:
        msg = f"{described}: {error}"
        raise ImageError(msg) from error
    if width * height > MAX_IMAGE_PIXELS:
        msg = f"{described}: {width}x{height} pixels; expected at most {MAX_IMAGE_PIXELS} in total"
        raise TooManyPixelsError(msg)
