# SPDX-License-Identifier: Apache-2.0
"""Image messages of every encoding against samples stored by this file, with and without cv_bridge."""

from __future__ import annotations

import array
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs the ROS messages")

from compat_branches import BRANCHES, plain, skip_without
from sensor_msgs.msg import CompressedImage, Image

from ttt3r_ros.errors import ImageError
from ttt3r_ros.ros import messages
from ttt3r_ros.ros.image_messages import compressed_to_rgb, image_to_rgb

pytestmark = pytest.mark.ros

WIDTH, HEIGHT = 12, 8
HEADER = messages.make_header(1_700_000_000_123_456_789, "camera")
YUV422 = {"yuv422", "uyvy", "yuv422_yuy2", "yuyv"}


def _picture(levels=256):
    return np.random.default_rng(7).integers(0, levels, (HEIGHT, WIDTH, 3))


def _ramps(scale):
    """Colors linear in x and y, which bilinear demosaicing restores exactly inside."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return scale * np.stack([10 + 12 * x, 200 - 9 * x + 3 * y, 20 + 20 * y], axis=-1)


def _to_8_bit(samples, bits):
    return (
        samples if bits == 8 else (samples + 128) // 257
    )  # 65535 / 255 = 257, so no value lies half way


def _channels(order, bits):
    picture = _picture(1 << bits)
    stored = np.stack(
        [picture[..., "rgb".index(c)] if c != "a" else picture[..., 0] for c in order], axis=-1
    )
    return stored, _to_8_bit(picture, bits), 0


def _gray(bits):
    gray = _picture(1 << bits)[..., :1]
    return gray, np.repeat(_to_8_bit(gray, bits), 3, axis=-1), 0


def _mosaic(pattern, bits):
    ramps = _ramps(1 if bits == 8 else 257)
    stored = np.empty((HEIGHT, WIDTH), dtype=np.int64)
    for index, color in enumerate(pattern):
        row, column = divmod(index, 2)
        stored[row::2, column::2] = ramps[row::2, column::2, "rgb".index(color)]
    return stored, _to_8_bit(ramps, bits), 1


def _bt601(luma, u, v):
    """Studio-range BT.601 in floating point; OpenCV computes it in fixed point."""
    y = 1.164 * (luma - 16.0)
    rgb = [y + 1.596 * (v - 128), y - 0.813 * (v - 128) - 0.391 * (u - 128), y + 2.018 * (u - 128)]
    return np.clip(np.stack(rgb, axis=-1), 0, 255)


def _yuv422(order):
    rng = np.random.default_rng(3)
    luma = rng.integers(16, 236, (HEIGHT, WIDTH))
    u, v = rng.integers(60, 190, (2, HEIGHT, WIDTH // 2))
    parts = {"u": u, "v": v, "0": luma[:, 0::2], "1": luma[:, 1::2]}
    stored = np.stack([parts[letter] for letter in order], axis=-1)
    return stored, _bt601(luma, np.repeat(u, 2, axis=1), np.repeat(v, 2, axis=1)), 2


def _yuv420(order):
    rng = np.random.default_rng(4)
    luma = rng.integers(16, 236, (HEIGHT, WIDTH))
    u, v = rng.integers(60, 190, (2, HEIGHT // 2, WIDTH // 2))
    chroma = np.stack([u, v] if order == "uv" else [v, u], axis=-1).reshape(HEIGHT // 2, WIDTH)
    full = [plane.repeat(2, axis=0).repeat(2, axis=1) for plane in (u, v)]
    return np.concatenate([luma, chroma]), _bt601(luma, *full), 2


# By encoding: the stored samples, the RGB expected and the tolerance.
CASES = {
    **{
        f"{order}{bits}": _channels(order, bits)
        for order in ("rgb", "bgr", "rgba", "bgra")
        for bits in (8, 16)
    },
    **{name: _gray(8) for name in ("mono8", "8UC1")},
    **{name: _gray(16) for name in ("mono16", "16UC1")},
    "8UC3": _channels("bgr", 8),
    "8UC4": _channels("bgra", 8),
    **{
        f"bayer_{p}{bits}": _mosaic(p, bits)
        for p in ("rggb", "bggr", "gbrg", "grbg")
        for bits in (8, 16)
    },
    **{name: _yuv422("u0v1") for name in ("yuv422", "uyvy")},
    **{name: _yuv422("0u1v") for name in ("yuv422_yuy2", "yuyv")},
    "nv12": _yuv420("uv"),
    "nv21": _yuv420("vu"),
}


def _message(encoding, *, padding=0, big_endian=False):
    stored = CASES[encoding][0]
    sample = (">u2" if big_endian else "<u2") if "16" in encoding else "u1"
    rows = stored.astype(sample).reshape(len(stored), -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    msg = Image(
        height=HEIGHT, width=WIDTH, encoding=encoding, step=rows.shape[1], is_bigendian=big_endian
    )
    msg.data = array.array("B", rows.tobytes())
    return msg


@BRANCHES
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 12])
@pytest.mark.parametrize("encoding", CASES)
def test_every_encoding_decodes_to_the_encoded_image(packages, encoding, padding, big_endian):
    with packages():
        rgb = image_to_rgb(_message(encoding, padding=padding, big_endian=big_endian))
    _, expected, tolerance = CASES[encoding]
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    inside = np.s_[1:-1, 1:-1] if encoding.startswith("bayer") else np.s_[:]
    assert np.abs(rgb.astype(float) - expected)[inside].max() <= tolerance


def test_cv_bridge_and_opencv_decode_equally():
    skip_without("images", "cv_bridge")
    for encoding in CASES:
        genuine = image_to_rgb(_message(encoding))
        with plain():
            own = image_to_rgb(_message(encoding))
        assert np.abs(genuine.astype(int) - own).max() <= 1, encoding


def test_an_rgb8_image_is_not_copied_and_cannot_be_changed_by_the_reader():
    msg = _message("rgb8")
    with plain():
        rgb = image_to_rgb(msg)
    assert np.shares_memory(rgb, np.frombuffer(msg.data, np.uint8))
    assert not rgb.flags.writeable


def _is_well_formed(encoding, width, height, step, byte_count):
    if min(width, height) < (3 if "bayer" in encoding else 1):
        return False
    if encoding in {"nv12", "nv21"}:
        return width % 2 == height % 2 == 0 and step >= width and byte_count == step * height * 3 / 2
    if encoding in YUV422 and width % 2:
        return False
    bytes_per_pixel = CASES[encoding][0].size // (WIDTH * HEIGHT) * (2 if "16" in encoding else 1)
    return step >= width * bytes_per_pixel and byte_count == step * height


@BRANCHES
@settings(deadline=None, max_examples=300)
@given(
    encoding=st.sampled_from(sorted(CASES)),
    size=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    step=st.integers(0, 40),
    rows_and_bytes=st.tuples(
        st.sampled_from([1.0, 1.0, 1.5, 1.5, 0.9]), st.sampled_from([0, 0, 0, 1, -1])
    ),
)
def test_exactly_the_inconsistent_sizes_are_refused(packages, encoding, size, step, rows_and_bytes):
    (width, height), (rows, extra) = size, rows_and_bytes
    data = array.array("B", bytes(max(0, int(step * height * rows) + extra)))
    msg = Image(height=height, width=width, encoding=encoding, step=step, data=data)
    with packages():
        if _is_well_formed(encoding, width, height, step, len(data)):
            assert image_to_rgb(msg).shape == (height, width, 3)
        else:
            with pytest.raises(ImageError, match=rf"'{encoding}'.*{width}x{height}"):
                image_to_rgb(msg)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("32FC1", "floating point data; a color or gray camera image is expected"),
        ("32FC3", "floating point data; a color or gray camera image is expected"),
        ("64FC1", "floating point data; a color or gray camera image is expected"),
        ("rgb9", "'rgb9' is unknown; accepted are 16UC1, "),
        ("", "'' is unknown"),
    ],
)
def test_an_encoding_of_no_camera_image_is_refused_with_its_name(encoding, text):
    msg = Image(height=1, width=1, encoding=encoding, step=12, data=array.array("B", bytes(12)))
    with pytest.raises(ImageError, match=text):
        image_to_rgb(msg)


def _smooth():
    return cv2.resize(_ramps(1).astype(np.uint8), (96, 64), interpolation=cv2.INTER_LINEAR)


def _compressed(data, image_format):
    return CompressedImage(format=image_format, data=array.array("B", bytes(data)))


def _encode(extension, picture):
    return cv2.imencode(extension, picture)[1].tobytes()


@pytest.mark.parametrize("image_format", ["jpeg", "rgb8; jpeg compressed bgr8", "jpg", ""])
def test_a_jpeg_is_decoded_with_any_format_field(image_format):
    msg = messages.jpeg_image(_smooth(), HEADER, quality=95)
    assert (msg.format, msg.header) == ("jpeg", HEADER)
    msg.format = image_format
    rgb = compressed_to_rgb(msg)
    assert np.abs(rgb.astype(int) - _smooth()).mean() < 2.0


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (_picture()[..., ::-1], _picture()),
        (_picture(65536)[..., ::-1], _to_8_bit(_picture(65536), 16)),
        (np.dstack([_picture()[..., ::-1], _picture()[..., 0]]), _picture()),
        (_picture()[..., 0], np.repeat(_picture()[..., :1], 3, axis=-1)),
    ],
    ids=["color", "color16", "alpha", "gray"],
)
def test_a_png_is_lossless_down_to_eight_bits(stored, expected):
    png = _encode(".png", stored.astype(np.uint16 if stored.max() > 255 else np.uint8))
    assert np.array_equal(compressed_to_rgb(_compressed(png, "rgb8; png compressed bgr8")), expected)


def test_a_compressed_bayer_image_is_demosaiced():
    mosaic, expected, tolerance = CASES["bayer_grbg8"]
    msg = _compressed(_encode(".png", mosaic.astype(np.uint8)), "bayer_grbg8; png compressed ")
    error = np.abs(compressed_to_rgb(msg).astype(int) - expected)
    assert error[1:-1, 1:-1].max() <= tolerance


def _jpeg_with_exif(payload):
    jpeg = _encode(".jpg", _smooth())
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def test_a_rotation_in_exif_is_ignored():
    quarter_turn = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    assert cv2.imdecode(np.frombuffer(_jpeg_with_exif(quarter_turn), np.uint8), 1).shape == (96, 64, 3)
    rgb = compressed_to_rgb(_compressed(_jpeg_with_exif(quarter_turn), "jpeg"))
    assert rgb.shape == (64, 96, 3)


@pytest.mark.parametrize("lost", [1, 2, 5, 12, 300, 0.5, 0.99])
@pytest.mark.parametrize("extension", [".jpg", ".png", "with_thumbnail"])
def test_a_truncated_image_is_refused_with_its_size_and_nothing_on_stderr(extension, lost, capfd):
    thumbnail = b"Exif\0\0" + _encode(".jpg", _smooth()[::4, ::4].copy())
    whole = (
        _jpeg_with_exif(thumbnail) if extension == "with_thumbnail" else _encode(extension, _smooth())
    )
    assert compressed_to_rgb(_compressed(whole, "x")).shape == (64, 96, 3)
    part = whole[: -lost if lost >= 1 else int(len(whole) * (1 - lost))]
    with pytest.raises(ImageError, match=rf"format 'x', {len(part)} bytes: .*(truncated|expected JPEG)"):
        compressed_to_rgb(_compressed(part, "x"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "image_format", "text"),
    [
        (b"", "jpeg", "format 'jpeg', 0 bytes: expected JPEG or PNG, but the data start with nothing"),
        (b"GIF89a", "gif", "format 'gif', 6 bytes: .* start with 47 49 46"),
        (b"\xff\xd8\xff\xda\0\0\xff\xd9", "jpeg", "8 bytes: the data are damaged"),
        (_encode(".png", np.zeros((4, 4), np.uint16)), "16UC1; compressedDepth png", "depth"),
    ],
)
def test_compressed_data_of_no_image_are_refused(data, image_format, text):
    with pytest.raises(ImageError, match=text):
        compressed_to_rgb(_compressed(data, image_format))


def test_built_images_have_packed_rows_and_array_data():
    picture = _picture().astype(np.uint8)
    msg = messages.image(picture[:, ::-1], HEADER)
    assert (msg.encoding, msg.step, msg.header) == ("rgb8", 36, HEADER)
    assert isinstance(msg.data, array.array)
    assert np.array_equal(image_to_rgb(msg), picture[:, ::-1])
    values = np.array([[0.5, np.nan], [2.5, -1.0]], np.float32)
    depth = messages.image(values, HEADER)
    assert (depth.encoding, depth.step, depth.height, depth.width) == ("32FC1", 8, 2, 2)
    assert np.array_equal(struct.unpack("<4f", depth.data), values.ravel(), equal_nan=True)
