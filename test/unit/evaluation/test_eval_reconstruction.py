# SPDX-License-Identifier: Apache-2.0
"""A reconstruction and a whole pass over a sequence, by a backend that returns the truth up to a factor."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import FakeBackend, FakeState

from ttt3r_ros.config import Config
from ttt3r_ros.evaluation.measurement import Result, evaluate, mean_of
from ttt3r_ros.evaluation.metrics.reconstruction import (
    PosedClouds,
    ReconstructionComparison,
    align_by_medians,
    true_depth_in_network_image,
    unproject_depth,
)
from ttt3r_ros.evaluation.protocols import protocols_of
from ttt3r_ros.geometry import se3_inverse, transform
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.synthetic.room import ProceduralRoom
from ttt3r_ros.types import Frame, ImageGeometry, Intrinsics, Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH, HEIGHT = 64, 48
GEOMETRY = ImageGeometry(WIDTH, HEIGHT, WIDTH, HEIGHT, 0, 0, WIDTH, HEIGHT)
FOLDER = protocols_of("folder")


class Seer(FakeBackend):
    """Sees the room as it is, but for one factor on all lengths."""

    def __init__(self, room: ProceduralRoom, factor: float = 1.0) -> None:
        super().__init__()
        self.room, self.factor = room, factor

    def step(self, rgb: np.ndarray, state: FakeState) -> tuple[Prediction, FakeState]:
        rendered = self.room.render(state.seen)
        T = se3_inverse(self.room.T_world_camera(0)) @ self.room.T_world_camera(state.seen)
        T[:3, 3] *= self.factor
        seen = Prediction(
            points_camera=self.factor * unproject_depth(rendered.depth_m, self.room.intrinsics),
            confidence=np.full((HEIGHT, WIDTH), 3.0, np.float32),
            T_segment_camera=T,
            rgb=rendered.rgb,
            geometry=GEOMETRY,
        )
        return seen, FakeState(state.seen + 1)


@pytest.fixture
def room() -> ProceduralRoom:
    return ProceduralRoom(frames=6, width=WIDTH, height=HEIGHT)


def evaluated(room: ProceduralRoom, factor: float) -> dict[str, Result]:
    reconstructor = Reconstructor(Seer(room, factor), Config())
    return {result.protocol: result for result in evaluate("room", room, reconstructor, FOLDER).results}


def test_the_truth_has_no_error_in_any_task(room) -> None:
    found = evaluated(room, 1.0)
    assert not any(result.problem for result in found.values())
    assert [result.frames for result in found.values()] == [6, 6, 6]
    assert found["pose"].metrics["ate_se3_m"] == pytest.approx(0.0, abs=1e-5)
    assert found["depth"].metrics["abs_rel.metric"] == pytest.approx(0.0, abs=1e-5)
    metrics = found["reconstruction"].metrics
    assert metrics["accuracy_mean.metric"] == pytest.approx(0.0, abs=1e-5)
    assert metrics["completion_mean.scaled"] == pytest.approx(0.0, abs=1e-5)
    assert metrics["normals_mean.scaled"] == pytest.approx(1.0, abs=1e-3)


def test_a_wrong_scale_changes_only_metric_errors(room) -> None:
    found = evaluated(room, 2.0)
    pose, depth, points = (found[name].metrics for name in ("pose", "depth", "reconstruction"))
    assert pose["scale"] == pytest.approx(0.5)
    assert pose["ate_sim3_m"] == pytest.approx(0.0, abs=1e-5)
    assert pose["ate_se3_m"] > 0.02
    assert pose["rpe_sim3_m"] == pytest.approx(0.0, abs=1e-5)
    assert depth["abs_rel.metric"] == pytest.approx(1.0, abs=1e-4)
    assert depth["abs_rel.scale"] == pytest.approx(0.0, abs=1e-5)
    assert points["scale"] == pytest.approx(0.5)
    assert points["accuracy_mean.scaled"] == pytest.approx(0.0, abs=1e-4)
    assert points["accuracy_mean.metric"] > 0.1


def test_each_length_is_the_beginning_of_one_pass(room) -> None:
    protocols = protocols_of("folder", lengths=(3, 5, 50))
    measured = evaluate("room", room, Reconstructor(Seer(room), Config()), protocols)
    poses = [result for result in measured.results if result.protocol == "pose"]
    assert [result.frames for result in poses] == [3, 5, 6]
    assert [result.metrics["pairs"] for result in poses] == [3, 5, 6]
    pixels = [r.metrics["pixels"] for r in measured.results if r.protocol == "depth"]
    assert pixels[0] * 2 == pixels[2]


def test_refused_images_are_counted_where_they_were(room) -> None:
    class Covered(ProceduralRoom):
        def frames(self) -> Iterator[Frame]:
            for k, frame in enumerate(super().frames()):
                yield replace(frame, rgb=np.zeros_like(frame.rgb)) if k == 4 else frame

    covered = Covered(frames=6, width=WIDTH, height=HEIGHT)
    protocols = protocols_of("folder", ["pose"], lengths=(4, 0))
    measured = evaluate("room", covered, Reconstructor(Seer(covered), Config()), protocols)
    assert [(result.frames, result.refused) for result in measured.results] == [(4, 0), (6, 1)]
    assert [result.metrics["steps"] for result in measured.results] == [3, 3], (
        "none to or from the fifth"
    )


def test_without_true_depth_only_poses_are_evaluated_and_the_others_have_a_problem(room) -> None:
    class Blind(ProceduralRoom):
        def true_depth_m(self, stamp_ns: int) -> None:
            return None

    plain = Blind(frames=6, width=WIDTH, height=HEIGHT)
    found = evaluated(plain, 1.0)
    assert found["pose"].metrics
    assert found["depth"].problem == "room has no true depth"
    assert found["reconstruction"].problem == "room has no frame with true depth and true pose"


def test_without_a_known_lens_there_are_no_true_points(room) -> None:
    class Unknown(ProceduralRoom):
        def frames(self) -> Iterator[Frame]:
            yield from (replace(frame, intrinsics=None) for frame in super().frames())

    found = evaluated(Unknown(frames=6, width=WIDTH, height=HEIGHT), 1.0)
    assert "intrinsics" in found["reconstruction"].problem
    assert found["depth"].metrics


def test_points_of_a_depth_image_lie_on_its_rays() -> None:
    points = unproject_depth(np.full((3, 5), 2.0, np.float32), Intrinsics(4.0, 8.0, 2.0, 1.0, 5, 3))
    assert points[1, 2] == pytest.approx([0.0, 0.0, 2.0])
    assert points[0, 4] == pytest.approx([2 / 4 * 2, -1 / 8 * 2, 2.0])


def test_true_depth_is_sampled_at_the_pixels_of_the_network() -> None:
    """Half the size and cut by 4 pixels on the left: network pixel u looks at source 2 (u + 4.5) - 0.5."""
    ramp = np.tile(np.arange(32, dtype=np.float32), (16, 1))
    found = true_depth_in_network_image(ramp, ImageGeometry(32, 16, 16, 8, 4, 0, 8, 8))
    assert found.shape == (8, 8)
    assert np.abs(found[0] - (2 * (np.arange(8) + 4.5) - 0.5)).max() <= 0.5
    holes = np.full((16, 32), np.nan, np.float32)
    assert (true_depth_in_network_image(holes, ImageGeometry(32, 16, 16, 8, 4, 0, 8, 8)) == 0).all()


def test_medians_bring_depth_and_size_together() -> None:
    true = np.random.default_rng(3).normal(size=(501, 3)) + [0.0, 0.0, 4.0]
    predicted = 3.0 * true + [0.0, 0.0, 7.0]
    clouds = (PosedClouds([(cloud.astype(np.float32), np.eye(4))]) for cloud in (predicted, true))
    S, scale = align_by_medians(*clouds)
    assert scale == pytest.approx(1 / 3, rel=1e-6)
    np.testing.assert_allclose(transform(S, predicted), true, atol=1e-5)


def test_means_weigh_sequences_alike_or_pixels_alike_and_leave_failures_out() -> None:
    results = [
        Result("a", "depth", 0, metrics={"abs_rel.scale": 0.1, "pixels": 300}),
        Result("b", "depth", 0, metrics={"abs_rel.scale": 0.5, "pixels": 100}),
        Result("c", "depth", 0, problem="is not there"),
    ]
    assert mean_of(results)["abs_rel.scale"] == pytest.approx(0.3)
    assert mean_of(results, "pixels")["abs_rel.scale"] == pytest.approx(0.2)
    assert mean_of(results[2:]) == {}


def test_two_poses_have_errors_and_a_remark_on_the_alignment(room) -> None:
    short = ProceduralRoom(frames=2, width=WIDTH, height=HEIGHT)
    found = evaluated(short, 1.0)["pose"]
    assert (found.problem, found.metrics["pairs"]) == ("", 2)
    assert found.metrics["ate_se3_m"] == pytest.approx(0, abs=1e-6)
    assert len(found.remarks) == 1


def test_the_rules_of_a_protocol_reach_the_comparison_of_reconstructions(room) -> None:
    """Center, cap and the limit of frames; ICP's reach shows where it is zero: nothing moves."""
    plain = protocols_of("folder", ["reconstruction"])[0]
    central = np.array([room.render(k).depth_m[12:36, 16:48] for k in (0, 4)])  # those with depth
    cap_m = float(np.median(central))
    narrow = replace(plain, center=(0.5, 0.5), max_depth_m=cap_m, lengths=(5,))
    result = evaluate("room", room, Reconstructor(Seer(room), Config()), [narrow]).results[0]
    assert result.metrics["points"] == np.count_nonzero(central < cap_m)
    assert result.metrics["views"] == 2

    wrong = [replace(plain, icp_m=reach) for reach in (0.1, 1e-9)]
    moved, still = (
        evaluate("room", room, Reconstructor(Seer(room, 1.01), Config()), [one]).results[0]
        for one in wrong
    )
    assert moved.metrics["accuracy_mean.metric"] != still.metrics["accuracy_mean.metric"]


def test_views_that_no_length_needs_are_not_kept_though_another_protocol_shows_them(
    room, monkeypatch
) -> None:
    kept: list[int] = []
    monkeypatch.setattr(ReconstructionComparison, "_keep", lambda _, view: kept.append(view.frame))
    poses, points = (protocols_of("folder", [name])[0] for name in ("pose", "reconstruction"))
    protocols = [poses, replace(points, lengths=(3, 2))]
    results = evaluate("room", room, Reconstructor(Seer(room), Config()), protocols).results
    assert results[0].frames == 6
    assert kept == [0], "the fifth frame has true depth, too"


class Step:
    """Four frames of a wall at 1 m on the left and at 2 m on the right, measured at twice the network's size."""

    name, skipped, remarks = "step", 0, ()

    def __len__(self) -> int:
        return 4

    def frames(self) -> Iterator[Frame]:
        for k in range(4):
            rgb = np.random.default_rng(k).integers(0, 256, (24, 32, 3), dtype=np.uint8)
            yield Frame((k + 1) * 10**8, "camera", rgb)

    def ground_truth(self) -> list[tuple[int, np.ndarray]]:
        return []

    def true_depth_m(self, _stamp_ns: int) -> np.ndarray:
        return np.repeat(np.where(np.arange(32) < 16, 1.0, 2.0)[None], 24, axis=0).astype(np.float32)


class Watcher(FakeBackend):
    """Sees that wall, from some image on twice as far away."""

    def __init__(self, doubled_from: int = 99) -> None:
        super().__init__()
        self.doubled_from = doubled_from

    def step(self, rgb: np.ndarray, state: FakeState) -> tuple[Prediction, FakeState]:
        seen, after = super().step(rgb, state)
        points = np.zeros((12, 16, 3), np.float32)
        points[..., 2] = np.where(np.arange(16) < 8, 1.0, 2.0)
        points *= 2 if state.seen >= self.doubled_from else 1
        geometry = ImageGeometry(32, 24, 16, 12, 0, 0, 16, 12)
        return replace(seen, points_camera=points, geometry=geometry), after


WALL = replace(protocols_of("folder", ["depth"])[0], pixel_step=1)


def cubic(values: np.ndarray) -> np.ndarray:
    """Return values (16,) at twice their number, by the four weights of OpenCV's cubic a quarter off a pixel."""
    quarter = np.array([-27 / 256, 225 / 256, 67 / 256, -9 / 256])
    padded = np.pad(values, 2, mode="edge")
    found = [
        (padded[k : k + 4] @ quarter[::-1], padded[k + 1 : k + 5] @ quarter) for k in range(len(values))
    ]
    return np.array(found).ravel()


def test_depth_is_resampled_by_cubic_interpolation() -> None:
    result = evaluate("step", Step(), Reconstructor(Watcher(), Config()), [WALL]).results[0]
    predicted = cubic(np.where(np.arange(16) < 8, 1.0, 2.0))
    true = Step().true_depth_m(0)[0]
    expected = np.mean(np.abs(predicted - true) / true)
    assert expected > 0.01
    assert result.metrics["abs_rel.metric"] == pytest.approx(expected, rel=1e-5)


def test_the_cap_on_predictions_reaches_the_comparison_of_depths() -> None:
    cut = replace(WALL, clip_m=1.5)
    result = evaluate("step", Step(), Reconstructor(Watcher(), Config()), [cut]).results[0]
    predicted = np.minimum(cubic(np.where(np.arange(16) < 8, 1.0, 2.0)), 1.5)
    true = Step().true_depth_m(0)[0]
    expected = np.mean(np.abs(predicted - true) / true)
    assert result.metrics["abs_rel.metric"] == pytest.approx(expected, rel=1e-5)


def test_the_curve_of_depth_is_drawn_with_the_scale_of_all_that_is_drawn() -> None:
    whole_then_begin = replace(WALL, lengths=(0, 1))
    backend = Watcher(doubled_from=1)
    measured = evaluate("step", Step(), Reconstructor(backend, Config()), [whole_then_begin])
    scales = [result.metrics["scale"] for result in measured.results]
    assert scales[0] == pytest.approx(0.5, abs=1e-3)
    assert scales[1] == pytest.approx(1.0, abs=1e-3)
    errors = measured.curves.depth_abs_rel
    assert errors[0] == pytest.approx(0.5, abs=0.02)
    assert max(errors[1:]) < 0.05
