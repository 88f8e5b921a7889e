# SPDX-License-Identifier: Apache-2.0
"""Detection of dataset formats, and rules that all share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_files import (
    START_NS,
    pose,
    poses,
    red_values,
    write_7scenes,
    write_euroc,
    write_image,
    write_odometry,
    write_sintel,
    write_text,
    write_tum,
)

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.datasets.common import DatasetSequence, nearest_index
from ttt3r_ros.io.datasets.registry import DATASET_FORMATS, detect_format
from ttt3r_ros.io.image_folder import ImageRecord
from ttt3r_ros.io.sequence import ALL_FRAMES
from ttt3r_ros.io.sources import SourceOptions, open_source

WRITERS = {
    "tum": lambda root: write_tum(root / "desk"),
    "bonn": lambda root: write_tum(root / "rgbd_bonn_crowd"),
    "7scenes": write_7scenes,
    "euroc": write_euroc,
    "kitti": write_odometry,
    "sintel": write_sintel,
}


def test_formats_are_detected_by_their_files(tmp_path: Path) -> None:
    roots = {name: write(tmp_path / name) for name, write in WRITERS.items()}
    found = {name: detect_format(root) for name, root in roots.items()}
    assert {name: known and known.name for name, known in found.items()} == {
        name: name for name in WRITERS
    }
    for name, root in roots.items():
        named, detected = (open_source(str(root), SourceOptions(format=form)) for form in (name, "auto"))
        stamps_ns = [frame.stamp_ns for frame in named.frames()]
        assert stamps_ns == [frame.stamp_ns for frame in detected.frames()], name
        assert len(named) == len(stamps_ns), name


def test_the_error_of_a_missing_format_has_its_name(tmp_path: Path) -> None:
    for known in DATASET_FORMATS:
        with pytest.raises(SourceError, match=rf"{tmp_path} is not a {known.name} sequence"):
            open_source(str(tmp_path), SourceOptions(format=known.name))


def test_files_that_are_not_selected_are_not_read(tmp_path: Path) -> None:
    root = write_7scenes(tmp_path / "seq-01")
    for k in range(2, 7):
        write_image(root / f"frame-{k:06d}.color.png", 10 * k)
    (root / "frame-000001.color.png").write_bytes(b"damaged")
    sequence = open_source(str(root), SourceOptions(stride=2, max_frames=3))
    assert (red_values(sequence), len(sequence), sequence.skipped) == ([0, 20, 40], 3, 0)
    assert len(sequence.ground_truth()) == 2


def test_a_repeated_stamp_has_depth_and_pose_of_its_first_image(tmp_path: Path) -> None:
    root = write_7scenes(tmp_path / "desk")
    views = [
        ImageRecord(START_NS, root / f"frame-{k:06d}.color.png", Path(str(k)), pose(k)) for k in range(2)
    ]
    later = ImageRecord(2 * START_NS, views[0].image, Path("2"), pose(2))
    sequence = DatasetSequence(
        root, [*views, later], ALL_FRAMES, lambda path: np.full((1, 1), int(str(path)), np.float32)
    )
    assert [frame.stamp_ns for frame in sequence.frames()] == [START_NS, START_NS, 2 * START_NS]
    assert [stamp_ns for stamp_ns, _ in sequence.ground_truth()] == [START_NS, 2 * START_NS]
    np.testing.assert_array_equal(poses(sequence), [pose(0), pose(2)])
    assert sequence.true_depth_m(START_NS) == 0.0


def test_a_malformed_pose_file_is_an_error(tmp_path: Path) -> None:
    root = write_7scenes(tmp_path / "seq-01")
    write_text(root / "frame-000001.pose.txt", "1 2 3")
    with pytest.raises(SourceError, match=r"frame-000001\.pose\.txt: expected 4 x 4 numbers"):
        open_source(str(root))


def test_a_dataset_of_damaged_images_is_an_error(tmp_path: Path) -> None:
    root = write_7scenes(tmp_path / "seq-01")
    for file in root.glob("*.color.png"):
        file.write_bytes(b"\x89PNG and nothing more")
    with pytest.raises(SourceError, match=rf"{root}: none of 2 files can be read as an image"):
        list(open_source(str(root)).frames())


def test_the_nearest_stamp_is_within_the_tolerance() -> None:
    expected = {4: None, 5: 0, 14: 0, 16: 1, 25: 1, 26: None}
    assert {stamp_ns: nearest_index([10, 20], stamp_ns, 5) for stamp_ns in expected} == expected
    assert nearest_index([], 5, 5) is None
