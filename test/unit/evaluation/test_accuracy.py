# SPDX-License-Identifier: Apache-2.0
"""The accuracy command: a backend that returns the true poses has no error, for every kind of sequence."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from fakes import FakeBackend, FakeState

from ttt3r_ros.config import Config
from ttt3r_ros.errors import SourceError
from ttt3r_ros.evaluation.accuracy import measure
from ttt3r_ros.geometry import quat_xyzw_from_rotation
from ttt3r_ros.io.image_folder import ImageFolder
from ttt3r_ros.model.runtime.loading import load_backend
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.synthetic.room import ProceduralRoom
from ttt3r_ros.types import Frame

pytest.importorskip("evo")
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))
import accuracy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ttt3r_ros.types import Prediction


def on_a_curve(k: int) -> np.ndarray:
    """Return the k-th pose of a walk that spans all three directions; one along a line has no unique alignment."""
    T = np.eye(4)
    T[:3, 3] = 0.1 * k * k, 0.02 * k**3, k
    return T


class Walker(FakeBackend):
    """Returns the true pose and a wall at two meters."""

    def step(self, rgb: np.ndarray, state: FakeState) -> tuple[Prediction, FakeState]:
        seen, state = super().step(rgb, state)
        return replace(seen, T_segment_camera=on_a_curve(state.seen - 1)), state


class Walk:
    """A sequence with the poses of `Walker`."""

    name, skipped = "walk", 0

    def __len__(self) -> int:
        return 6

    def frames(self) -> Iterator[Frame]:
        for k in range(len(self)):
            rgb = np.random.default_rng(k).integers(0, 256, (12, 16, 3), dtype=np.uint8)
            yield Frame((k + 1) * 10**8, "camera", rgb)

    def ground_truth(self) -> list[tuple[int, np.ndarray]]:
        return [((k + 1) * 10**8, on_a_curve(k)) for k in range(len(self))]

    def true_depth_m(self, _stamp_ns: int) -> np.ndarray:
        return np.full((12, 16), 2.0, np.float32)


def test_a_backend_that_is_right_has_no_error() -> None:
    found = measure(Walk(), Reconstructor(Walker(), Config()))
    assert (found.frames, found.refused) == (6, 0)
    assert found.trajectory.se3_m == pytest.approx(0.0, abs=1e-6)
    assert found.trajectory.scale == pytest.approx(1.0)
    assert found.depth is not None
    assert found.depth.abs_rel_metric == pytest.approx(0.0, abs=1e-6)
    assert found.frames_per_s > 1


def test_an_image_that_cannot_be_used_is_counted_and_the_rest_compared() -> None:
    class Covered(Walk):
        def frames(self) -> Iterator[Frame]:
            for k, frame in enumerate(super().frames()):
                yield replace(frame, rgb=np.zeros_like(frame.rgb)) if k == 5 else frame

    found = measure(Covered(), Reconstructor(Walker(), Config()))
    assert (found.frames, found.refused) == (5, 1)
    assert found.trajectory.pairs == 5


def test_at_most_so_many_frames_are_shown() -> None:
    assert measure(Walk(), Reconstructor(Walker(), Config()), limit=4).frames == 4


def written(folder: Path, frames: int = 8) -> Path:
    """Write the demo's room in the layout of recorded sequences."""
    room = ProceduralRoom(frames=frames, width=96, height=72)
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    rows = []
    for index in range(frames):
        rendered, T = room.render(index), room.T_world_camera(index)
        cv2.imwrite(str(folder / "rgb" / f"{index:06d}.png"), rendered.rgb[..., ::-1])
        if index % 2 == 0:
            cv2.imwrite(
                str(folder / "depth" / f"{index:06d}.png"), (rendered.depth_m * 500).astype(np.uint16)
            )
        rows.append(" ".join(map(str, (0.1 * index, *T[:3, 3], *quat_xyzw_from_rotation(T[:3, :3])))))
    (folder / "groundtruth.txt").write_text("\n".join(rows))
    lens = room.intrinsics
    camera = {"fx": lens.fx, "fy": lens.fy, "cx": lens.cx, "cy": lens.cy, "width": 96, "height": 72}
    (folder / "camera.json").write_text(json.dumps(camera | {"depth_scale": 500.0}))
    return folder


def test_a_folder_has_measured_depth(tmp_path: Path) -> None:
    folder = ImageFolder(written(tmp_path / "walk"))
    stamps = [stamp for stamp, _ in folder.ground_truth()]
    depth = folder.true_depth_m(stamps[2])
    assert depth is not None
    assert depth == pytest.approx(
        ProceduralRoom(frames=8, width=96, height=72).render(2).depth_m, abs=2e-3
    )
    assert folder.true_depth_m(stamps[1]) is None
    assert folder.true_depth_m(7) is None


def test_the_command_prints_a_row_per_sequence_and_their_medians(tmp_path: Path, capsys) -> None:
    walk = written(tmp_path / "walk")
    status = accuracy.main(
        [str(walk), "room:0:4", "procedural:1-2:4", "--json", str(tmp_path / "rows.json")]
    )
    printed = capsys.readouterr().out.splitlines()
    assert status == 0
    assert [line.split()[0] for line in printed] == [
        "sequence", "walk", "room:0:4", "procedural:1:4", "procedural:2:4", "median",
    ]  # fmt: skip
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["frames"] for row in rows] == [8, 4, 4, 4]
    assert all(0 < row["depth"]["abs_rel_metric"] < 1 for row in rows)


def test_a_sequence_that_cannot_be_measured_is_named_and_fails_the_command(
    tmp_path: Path, capsys
) -> None:
    (tmp_path / "empty").mkdir()
    assert accuracy.main([str(tmp_path / "empty")]) == 1
    assert capsys.readouterr().err.startswith("empty ")


@pytest.mark.parametrize("text", ["procedural:5-2:8", "room:1:2"])
def test_a_name_that_stands_for_nothing_is_refused(text: str, capsys) -> None:
    assert accuracy.main([text]) == 2
    assert f"'{text}' stands for no sequence" in capsys.readouterr().err


def test_a_file_for_the_figures_that_cannot_be_written_fails_before_the_work(
    tmp_path: Path, capsys
) -> None:
    (tmp_path / "file").write_text("")
    assert accuracy.main(["room:0:4", "--json", str(tmp_path / "file" / "rows.json")]) == 2
    captured = capsys.readouterr()
    assert "cannot write" in captured.err
    assert not captured.out, "nothing was measured"


def test_a_figure_that_is_not_finite_is_null_in_json(tmp_path: Path, monkeypatch) -> None:
    class Sparse(Walk):
        """Every second frame has a true pose, so that no step can be compared."""

        def ground_truth(self) -> list[tuple[int, np.ndarray]]:
            return super().ground_truth()[::2]

    found = measure(Sparse(), Reconstructor(Walker(), Config()))
    monkeypatch.setattr(accuracy, "measure", lambda *_: found)
    assert accuracy.main(["room:0:4", "--json", str(tmp_path / "rows.json")]) == 0
    (row,) = json.loads((tmp_path / "rows.json").read_text(), parse_constant=pytest.fail)
    assert row["trajectory"]["rpe_m"] is None


def test_a_depth_that_cannot_be_read_costs_its_frame_alone() -> None:
    class Torn(Walk):
        def true_depth_m(self, stamp_ns: int) -> np.ndarray:
            if stamp_ns == 10**8:
                msg = "torn"
                raise SourceError(msg)
            return super().true_depth_m(stamp_ns)

    found = measure(Torn(), Reconstructor(Walker(), Config()))
    assert (found.trajectory.pairs, found.unread_depths) == (6, 1)
    assert found.depth.abs_rel_metric == pytest.approx(0.0, abs=1e-6)


def test_a_frame_whose_stamp_repeats_is_counted_and_the_rest_compared(tmp_path: Path) -> None:
    walk = written(tmp_path / "walk")
    lines = (walk / "groundtruth.txt").read_text().splitlines()
    lines[4] = " ".join([lines[3].split()[0], *lines[4].split()[1:]])
    (walk / "groundtruth.txt").write_text("\n".join(lines))
    found = measure(ImageFolder(walk), Reconstructor(Walker(), Config()))
    assert (found.frames, found.refused, found.trajectory.pairs) == (7, 1, 7)
    assert found.trajectory.steps == 5, "none across the gap"


def test_a_true_pose_that_is_not_finite_costs_its_frame_alone(tmp_path: Path) -> None:
    walk = written(tmp_path / "walk")
    lines = (walk / "groundtruth.txt").read_text().splitlines()
    lines[3] = " ".join([lines[3].split()[0], *["inf"] * 3, *lines[3].split()[4:]])
    (walk / "groundtruth.txt").write_text("\n".join(lines))
    found = measure(ImageFolder(walk), Reconstructor(Walker(), Config()))
    assert (found.frames, found.refused, found.trajectory.pairs) == (8, 0, 7)


@pytest.mark.parametrize("option", [[], ["--uncalibrated"]])
def test_the_calibration_of_a_sequence_counts_unless_it_is_to_be_ignored(option, monkeypatch) -> None:
    frame = next(ProceduralRoom(frames=1).frames())
    assert frame.intrinsics is not None
    shown = []

    def measure_one(_, pipeline: Reconstructor, __: int) -> None:
        shown.append(pipeline.step(frame).frame)
        msg = "one image is enough"
        raise SourceError(msg)

    monkeypatch.setattr(accuracy, "measure", measure_one)
    accuracy.main(["room:0:4", *option])
    assert [one.intrinsics for one in shown] == [None if option else frame.intrinsics]


WORST_PERCENT = 3.0  # of the path; measured: 1.5, and 7.6 by the network alone


def test_with_its_tracks_the_network_of_the_package_follows_a_camera_through_a_room():
    backend, facts = load_backend(Config())
    assert facts["pose_source"] == "visual_odometry"
    room = Rendered(ProceduralRoom(seed=1, frames=30, width=320, height=240))
    tracked, alone = (
        measure(room, Reconstructor(backend, Config(pose_source=source))).trajectory
        for source in ("auto", "network")
    )
    assert 100 * tracked.sim3_m / tracked.length_m < WORST_PERCENT
    assert tracked.se3_m < alone.se3_m / 2  # meters, too
    refined, as_it_is = (
        measure(room, Reconstructor(backend, Config(refine_depth=refines))).depth
        for refines in (True, False)
    )
    assert refined.abs_rel_scaled < 0.8 * as_it_is.abs_rel_scaled


class Rendered:
    """A sequence whose images are made once."""

    skipped = 0

    def __init__(self, sequence: ProceduralRoom) -> None:
        self._frames, self._truth = list(sequence.frames()), sequence.ground_truth()
        self._sequence = sequence

    def frames(self) -> Iterator[Frame]:
        return iter(self._frames)

    def ground_truth(self) -> list[tuple[int, np.ndarray]]:
        return self._truth

    def true_depth_m(self, stamp_ns: int) -> np.ndarray | None:
        return self._sequence.true_depth_m(stamp_ns)
