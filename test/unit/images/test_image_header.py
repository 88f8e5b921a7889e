# SPDX-License-Identifier: Apache-2.0
"""Images whose header announces more pixels than the limit are refused before they are decoded."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from ttt3r_ros.errors import ImageError
from ttt3r_ros.images.encodings import decode_compressed
from ttt3r_ros.images.image_header import read_image_size
from ttt3r_ros.io.image_files import read_image

if TYPE_CHECKING:
    from pathlib import Path


def png_bomb(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff", ".webp"])
def test_the_size_is_that_of_the_decoded_image(suffix: str) -> None:
    _, data = cv2.imencode(suffix, np.full((30, 40, 3), 7, np.uint8))
    assert read_image_size(data.tobytes()) == (40, 30)


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (2**31 - 1, 1), (1, 200_000_000)])
def test_a_bomb_is_refused_with_its_size(width: int, height: int, tmp_path: Path) -> None:
    data = png_bomb(width, height)
    with pytest.raises(ImageError, match=f"{width}x{height}.*100000000"):
        decode_compressed("png", np.frombuffer(data, np.uint8))
    (tmp_path / "bomb.png").write_bytes(data)
    assert read_image(tmp_path / "bomb.png") is None


def test_a_damaged_header_is_refused() -> None:
    for data in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFFxxxx", b"GIF89a"):
        with pytest.raises(ImageError):
            read_image_size(data)
