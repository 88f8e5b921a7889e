# SPDX-License-Identifier: Apache-2.0
"""Sintel and Neural RGB-D."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from dataset_files import (
    HEIGHT,
    START_NS,
    WIDTH,
    matrix_text,
    pose,
    poses,
    red_values,
    write_depth,
    write_image,
    write_sintel,
    write_text,
)

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.sources import open_source

if TYPE_CHECKING:
    from pathlib import Path


def test_sintel_has_poses_depth_and_a_camera_for_each_image(tmp_path: Path) -> None:
    sequence = open_source(str(write_sintel(tmp_path)))
    frames = list(sequence.frames())
    np.testing.assert_allclose(poses(sequence), [pose(1), pose(2)], atol=1e-9)
    assert [frame.intrinsics.fx for frame in frames if frame.intrinsics] == [1121.0, 1122.0]
    depth_m = [sequence.true_depth_m(frame.stamp_ns) for frame in frames]  # type: ignore[attr-defined]
    assert [depth.shape for depth in depth_m] == [(HEIGHT, WIDTH)] * 2
    assert [depth[0, 0] for depth in depth_m] == [3.5, 7.0]
    assert [frame.stamp_ns - START_NS for frame in frames] == [0, 41_666_667]


@pytest.mark.parametrize(("part", "keep"), [("depth", 40), ("depth", 3), ("camdata_left", 100)])
def test_truncated_files_of_sintel_are_errors(tmp_path: Path, part: str, keep: int) -> None:
    root = write_sintel(tmp_path)
    file = next((tmp_path / "training" / part / "alley_2").iterdir())
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(SourceError, match=rf"{file} is not a complete (depth|camera) file of Sintel"):
        open_source(str(root)).true_depth_m(START_NS + (41_666_667 if "2." in file.name else 0))  # type: ignore[attr-defined]


def test_poses_of_neural_rgbd_are_converted_and_rows_of_nan_ignored(tmp_path: Path) -> None:
    gl = [pose(k) @ np.diag([1.0, -1.0, -1.0, 1.0]) for k in range(11)]
    gl[1] = np.full((4, 4), np.nan)
    write_text(tmp_path / "poses.txt", "".join(matrix_text(T) for T in gl))
    write_text(tmp_path / "focal.txt", "554.2562584220408\n")
    for k in range(11):
        write_image(tmp_path / "images" / f"img{k}.png", 10 * k)
        write_depth(tmp_path / "depth" / f"depth{k}.png", 100 * (k + 1))
    sequence = open_source(str(tmp_path))
    frames = list(sequence.frames())
    assert red_values(sequence) == [10 * k for k in range(11)]  # img10 last
    np.testing.assert_allclose(poses(sequence), [pose(k) for k in range(11) if k != 1], atol=1e-9)
    camera = frames[0].intrinsics
    assert camera is not None
    assert (camera.fx, camera.cx, camera.cy) == (554.2562584220408, WIDTH / 2, HEIGHT / 2)
    assert sequence.true_depth_m(frames[10].stamp_ns)[1, 1] == np.float32(1.1)  # type: ignore[attr-defined]


def test_neural_rgbd_with_too_few_poses_is_an_error(tmp_path: Path) -> None:
    write_text(tmp_path / "poses.txt", matrix_text(np.eye(4)))
    write_text(tmp_path / "focal.txt", "500")
    write_image(tmp_path / "images" / "img1.png")
    with pytest.raises(SourceError, match=r"poses\.txt has 1 poses, but img1\.png has number 1"):
        open_source(str(tmp_path))
