# SPDX-License-Identifier: Apache-2.0
"""Which frames a protocol shows, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from ttt3r_ros.evaluation.protocols import Sampling
from ttt3r_ros.evaluation.sampling import SampledSequence, resize_whole
from ttt3r_ros.images.rectification import rectify_depth
from ttt3r_ros.io.image_folder import ImageFolder
from ttt3r_ros.model.runtime.preprocessing import InputSize
from ttt3r_ros.types import Frame, Intrinsics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = InputSize(64)


class Ten:
    """Ten frames; the even ones have a pose, those from the fourth on a depth; image k is as dark as k."""

    name, skipped = "ten", 0

    def __len__(self) -> int:
        return 10

    def frames(self) -> Iterator[Frame]:
        lens = Intrinsics(40.0, 40.0, 40.0, 20.0, 80, 40, "plumb_bob", (-0.2, 0.05, 0.0, 0.0, 0.0))
        for k in range(10):
            rgb = np.random.default_rng(k).integers(k, 250, (40, 80, 3), dtype=np.uint8)
            yield Frame(k * 10**9, "camera", rgb, lens)

    def ground_truth(self) -> list[tuple[int, np.ndarray]]:
        return [(k * 10**9 + 15_000_000, np.eye(4)) for k in range(0, 10, 2)]

    def true_depth_m(self, stamp_ns: int) -> np.ndarray | None:
        return np.ones((40, 80), np.float32) if stamp_ns >= 4 * 10**9 else None


def shown(sampling: Sampling) -> list[int]:
    sequence = SampledSequence(Ten(), sampling, SIZE.geometry)
    return [frame.stamp_ns // 10**9 for frame in sequence.frames()]


@pytest.mark.parametrize(
    ("sampling", "frames"),
    [
        (Sampling(), list(range(10))),
        (Sampling(stride=3), [0, 3, 6, 9]),
        (Sampling(stride=2, first=3), [3, 5, 7, 9]),
        (Sampling(only_with="pose"), [0, 2, 4, 6, 8]),
        (Sampling(only_with="pose", stride=2), [0, 4, 8]),
        (Sampling(only_with="depth"), [4, 5, 6, 7, 8, 9]),
    ],
)
def test_frames_without_truth_go_before_the_stride_counts(sampling: Sampling, frames: list[int]) -> None:
    assert shown(sampling) == frames


def test_ground_truth_stays_whole() -> None:
    sequence = SampledSequence(Ten(), Sampling(stride=5), SIZE.geometry)
    assert len(sequence) == 2
    assert len(sequence.ground_truth()) == 5
    assert sequence.true_depth_m(10**9) is None


def test_a_whole_image_is_not_cropped_by_the_network() -> None:
    """Of 80x42 the network would make 64x34 and cut it to 64x32."""
    rgb = np.zeros((42, 80, 3), np.uint8)
    rgb[-2:] = 255
    fitted = resize_whole(rgb, SIZE.geometry(80, 42))
    assert fitted.shape == (32, 64, 3)
    assert fitted[-1].mean() > 200, "the last rows are still there"
    assert SIZE.geometry(64, 32).top == 0
    frame = next(SampledSequence(Ten(), Sampling(whole_image=True), SIZE.geometry).frames())
    assert frame.rgb.shape == (32, 64, 3)


def test_images_are_rectified_only_if_the_protocol_requires_it() -> None:
    raw, plain, pinhole = (
        next(sequence.frames())
        for sequence in (
            Ten(),
            SampledSequence(Ten(), Sampling(), SIZE.geometry),
            SampledSequence(Ten(), Sampling(rectified=True), SIZE.geometry),
        )
    )
    np.testing.assert_array_equal(plain.rgb, raw.rgb)
    assert (pinhole.rgb != raw.rgb).any()
    assert pinhole.intrinsics is not None
    assert not any(pinhole.intrinsics.distortion)


class Ramp(Ten):
    """As deep as the number of the column."""

    def true_depth_m(self, stamp_ns: int) -> np.ndarray:
        return np.tile(np.arange(80, dtype=np.float32) + 1, (40, 1))


def test_true_depth_is_rectified_with_its_image() -> None:
    raw = next(Ramp().frames())
    plain, rectified = (
        SampledSequence(Ramp(), Sampling(rectified=rectified), SIZE.geometry)
        for rectified in (False, True)
    )
    next(plain.frames())
    pinhole = next(rectified.frames()).intrinsics
    np.testing.assert_array_equal(plain.true_depth_m(0), Ramp().true_depth_m(0))
    expected = rectify_depth(Ramp().true_depth_m(0), raw.intrinsics, pinhole)
    np.testing.assert_array_equal(rectified.true_depth_m(0), expected)
    assert (expected != Ramp().true_depth_m(0)).any()


@pytest.mark.parametrize(
    ("sampling", "steps"),
    [
        (Sampling(), [1] * 9),
        (Sampling(stride=3), [1, 1, 1]),
        (Sampling(only_with="pose"), [2, 2, 2, 2]),
        (Sampling(only_with="depth", first=2), [1, 1, 1]),
    ],
)
def test_frames_between_which_others_lie_are_no_neighbors(sampling: Sampling, steps: list[int]) -> None:
    sequence = SampledSequence(Ten(), sampling, SIZE.geometry)
    places = [sequence.place_of[frame.stamp_ns] for frame in sequence.frames()]
    assert np.diff(places).tolist() == steps


def test_a_broken_image_leaves_a_gap() -> None:
    class Torn(Ten):
        def frames(self) -> Iterator[Frame]:
            self.skipped = 0
            for k, frame in enumerate(super().frames()):
                if k == 4:
                    self.skipped += 1
                else:
                    yield frame

    sequence = SampledSequence(Torn(), Sampling(), SIZE.geometry)
    places = [sequence.place_of[frame.stamp_ns] for frame in sequence.frames()]
    assert np.diff(places).tolist() == [1, 1, 1, 2, 1, 1, 1, 1]


def test_a_frame_whose_true_pose_is_not_finite_is_none_with_a_pose_and_the_remark_goes_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "rgb").mkdir()
    for k in range(4):
        assert cv2.imwrite(str(tmp_path / "rgb" / f"{k}.png"), np.full((40, 80, 3), k, np.uint8))
    poses = [f"{k} nan nan nan nan nan nan nan" if k == 2 else f"{k} {k} 0 0 0 0 0 1" for k in range(4)]
    (tmp_path / "groundtruth.txt").write_text("\n".join(poses))
    sequence = SampledSequence(ImageFolder(tmp_path), Sampling(only_with="pose"), SIZE.geometry)
    assert [frame.stamp_ns // 10**9 for frame in sequence.frames()] == [0, 1, 3]
    assert sequence.remarks == ("1 of 4 true poses are not finite and ignored",)
