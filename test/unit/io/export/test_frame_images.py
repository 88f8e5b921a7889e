# SPDX-License-Identifier: Apache-2.0
"""The images of every frame."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from recorded import map_room, noisy

from ttt3r_ros.errors import OutputError
from ttt3r_ros.io.export.frame_images import FrameImageWriter

ALL = {"rgb", "depth", "confidence", "npz"}
IMAGES = ["confidence/000007.png", "depth/000007.png", "depth_npz/000007.npz", "rgb/000007.jpg"]


def files_below(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def read_png(path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint16
    return image


@pytest.fixture
def update():
    return noisy(map_room(1)[0][0])


def test_depth_is_in_millimeters_where_it_is_valid(tmp_path, update):
    FrameImageWriter(tmp_path, {"depth"}, min_confidence=2.0).add(7, update)
    prediction = update.prediction
    z = prediction.points_camera[..., 2]
    counts = (prediction.confidence >= 2.0) & (z > 0)
    assert 0 < counts.sum() < counts.size
    depth = read_png(tmp_path / "depth" / "000007.png")
    np.testing.assert_array_equal(depth, np.where(counts, np.rint(z * 1000.0), 0))


def test_confidence_is_in_thousandths_of_sixteen_bits(tmp_path, update):
    confidence = update.prediction.confidence.copy()
    confidence[0, :3] = 65.0, 1e6, np.inf
    FrameImageWriter(tmp_path, {"confidence"}).add(
        7, replace(update, prediction=replace(update.prediction, confidence=confidence))
    )
    thousandths = read_png(tmp_path / "confidence" / "000007.png")
    assert thousandths[0, :3].tolist() == [65000, 65535, 65535]
    np.testing.assert_allclose(thousandths[1:] / 1000.0, confidence[1:], atol=5.1e-4)


def test_rgb_is_the_image_of_the_network(tmp_path):
    update = map_room(1)[0][0]
    FrameImageWriter(tmp_path, {"rgb"}).add(7, update)
    bgr = cv2.imread(str(tmp_path / "rgb" / "000007.jpg"))
    assert np.abs(bgr[..., ::-1].astype(int) - update.prediction.rgb).max() <= 2
    red = np.zeros_like(update.prediction.rgb)
    red[..., 0] = 200
    FrameImageWriter(tmp_path, {"rgb"}).add(
        8, replace(update, prediction=replace(update.prediction, rgb=red))
    )
    b, _, r = cv2.imread(str(tmp_path / "rgb" / "000008.jpg"))[3, 3]
    assert (r > 190, b < 10) == (True, True)


def test_npz_has_unmasked_depth_confidence_pose_and_camera(tmp_path, update):
    FrameImageWriter(tmp_path, {"npz"}, min_confidence=99.0).add(7, update)
    with np.load(tmp_path / "depth_npz" / "000007.npz") as arrays:
        assert {name: arrays[name].dtype for name in arrays.files} == {
            "depth": np.float32, "confidence": np.float32, "T_map_camera": np.float64, "K": np.float64,
        }  # fmt: skip
        np.testing.assert_array_equal(arrays["depth"], update.prediction.points_camera[..., 2])
        np.testing.assert_array_equal(arrays["confidence"], update.prediction.confidence)
        np.testing.assert_array_equal(arrays["T_map_camera"], update.T_map_camera)
        np.testing.assert_array_equal(arrays["K"], update.intrinsics.matrix())


def test_equal_frames_are_written_as_equal_bytes(tmp_path, update):
    for name in ("a", "b"):
        FrameImageWriter(tmp_path / name, ALL).add(7, update)
    assert files_below(tmp_path / "a") == IMAGES
    for image in IMAGES:
        assert (tmp_path / "a" / image).read_bytes() == (tmp_path / "b" / image).read_bytes()


def test_no_kinds_write_no_files_and_unknown_ones_are_errors(tmp_path, update):
    FrameImageWriter(tmp_path / "none", set()).add(0, update)
    assert not (tmp_path / "none").exists()
    with pytest.raises(OutputError, match=r"\['normals'\]; expected some of \['rgb', 'depth'"):
        FrameImageWriter(tmp_path, {"normals", "rgb"})


def test_a_full_disk_leaves_no_image_of_the_frame(little_room, update):
    files = FrameImageWriter(little_room, ALL)
    files.add(7, update)
    large = noisy(update, 240, 320)
    with pytest.raises(
        OutputError, match=r"cannot write .*000008\.jpg.*000008\.npz: (No space|File too)"
    ):
        files.add(8, large)
    assert files_below(little_room) == IMAGES
