# SPDX-License-Identifier: Apache-2.0
"""Results as text and JSON: means, counts, and short, missing or damaged sequences."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from ttt3r_ros.evaluation.measurement import Result, mean_of
from ttt3r_ros.evaluation.protocols import protocols_of
from ttt3r_ros.evaluation.record import json_text, record
from ttt3r_ros.evaluation.tables import Evaluation, report

POSE = {"ate_sim3_m": 0.5, "ate_se3_m": 0.75, "scale": 1.25, "rpe_deg": 1.0}


def test_the_report_puts_ours_below_the_published_and_keeps_the_failed_and_the_missing() -> None:
    protocol = protocols_of("tum", ["pose_short"])[0]
    results = [
        Result("sitting_rpy", "pose_short", 90, 90, metrics=POSE),
        Result(
            "walking_rpy",
            "pose_short",
            90,
            90,
            2,
            metrics={**POSE, "ate_sim3_m": 0.25, "ate_se3_m": 0.25},
        ),
        Result("walking_xyz", "pose_short", 90, problem="the disk is gone"),
    ]
    text = report([Evaluation(protocol, results, ("walking_static",))], "ttt3r, these weights")
    lines = text.splitlines()
    assert "| TTT3R | published weights | 0.028 | tables of later papers |" in lines
    assert "| **this run** | ttt3r, these weights | 0.375 | 2 of 8 sequences |" in lines
    # A scale hides errors: beside the published figure stand ours without it, and the scale itself.
    assert "| **this run**, ATE SE(3) [m] | ttt3r, these weights | 0.500 | 2 of 8 sequences |" in lines
    assert "| **this run**, scale | ttt3r, these weights | 1.250 | 2 of 8 sequences |" in lines
    assert "Not there: walking_static." in text
    assert any(line.startswith("| walking_rpy | 90 | 90 (-2) |") for line in lines)
    assert any(line.startswith("| walking_xyz | 90 | 0 | the disk is gone |") for line in lines)
    widths = {line.count("|") for line in lines if line.startswith(("| sitting", "| walking"))}
    assert len(widths) == 1, "every row has every column"


def test_a_figure_that_is_not_finite_is_missing_by_itself_and_does_not_blank_the_mean() -> None:
    protocol = replace(protocols_of("tum", ["pose_short"])[0], lengths=(50, 90))
    results = [
        Result("a", "pose_short", 50, 50, metrics=POSE),
        Result("b", "pose_short", 50, 50, metrics={**POSE, "ate_sim3_m": 1.5, "rpe_deg": math.nan}),
        Result("a", "pose_short", 90, 90, metrics=POSE),
        Result("b", "pose_short", 90, problem="lost"),
    ]
    evaluation = Evaluation(protocol, results)
    assert evaluation.mean(50)["rpe_deg"] == 1.0
    assert (evaluation.counts(50)["rpe_deg"], evaluation.counts(50)["ate_sim3_m"]) == (1, 2)
    text = report([evaluation], "ours")
    assert "| **this run** | ours | 1.000 | 0.500 | 50: 2, 90: 1 of 8 sequences |" in text
    means = [line for line in text.splitlines() if line.startswith("| **mean**")]
    assert means[0].startswith("| **mean**, 2 of 8 sequences | 50 |")
    assert means[0].endswith("| 1.000 (1) |"), "the degrees are of one sequence"
    assert means[1].startswith("| **mean**, 1 of 8 sequences | 90 |")


def test_a_sequence_shorter_than_a_length_is_marked() -> None:
    protocol = replace(protocols_of("tum", ["pose"])[0], lengths=(50, 100))
    results = [
        Result("a", "pose", 50, 50, metrics=POSE),
        Result("a", "pose", 100, 80, metrics=POSE),
        Result("b", "pose", 50, 50, metrics=POSE),
        Result("b", "pose", 100, 100, metrics=POSE),
    ]
    text = report([Evaluation(protocol, results)], "ours")
    assert "| **this run** | ours | 0.500 | 0.500 † | 2 of 8 sequences |" in text
    assert "| a | 100 | 80 † |" in text
    assert "| b | 100 | 100 |" in text
    assert "† fewer frames than the head of the column: a has 80 frames." in text


def test_means_of_depth_are_weighted_by_pixels() -> None:
    protocol = protocols_of("sintel", ["depth"])[0]
    results = [
        Result("a", "depth", 0, 9, metrics={"abs_rel.scale": 0.1, "pixels": 300}),
        Result("b", "depth", 0, 9, metrics={"abs_rel.scale": 0.5, "pixels": 100}),
    ]
    assert Evaluation(protocol, results).mean(0)["abs_rel.scale"] == pytest.approx(0.2)
    text = report([Evaluation(protocol, results)], "ours")
    assert "| **this run** | ours | 0.200 | 2 of 23 sequences |" in text
    assert mean_of(results)["abs_rel.scale"] == pytest.approx(0.3)


def test_sequences_without_results_and_missing_ones_are_counted_and_named() -> None:
    protocol = protocols_of("folder", ["pose"])[0]
    evaluation = Evaluation(protocol, [Result("a", "pose", 0, 9, metrics=POSE)], (), ("b", "c"))
    text = report([evaluation], "ours", {"KITTI, depth": "no drive"})
    assert "1 of 3 sequences" in text
    assert "Not run, for the run was interrupted: b, c." in text
    assert text.endswith("## KITTI, depth\n\nNot there: no drive\n")
    content = json.loads(record([evaluation]))["evaluations"][0]
    assert (content["sequences"], content["not_run"]) == (3, ["b", "c"])
    assert content["counts"]["0"]["ate_sim3_m"] == 1


def test_remarks_stand_below_the_table_once_with_all_they_concern() -> None:
    protocol = replace(protocols_of("folder", ["pose"])[0], lengths=(5, 0))
    results = [
        Result(name, "pose", length, 9, metrics=POSE, remarks=("the lens was dirty",))
        for name in ("a", "b")
        for length in (5, 0)
    ]
    assert report([Evaluation(protocol, results)], "ours").endswith(
        "\n\nNote, a, b: the lens was dirty.\n"
    )


def test_lengths_that_are_not_in_a_protocol_are_named() -> None:
    protocol = protocols_of("bonn", lengths=(50, 60))[0]
    text = report([Evaluation(protocol, [Result("a", "depth", 50, problem="lost")])], "ours")
    assert "Not in that protocol: first 60." in text
    own = protocols_of("folder", ["depth"], lengths=(60,))[0]
    assert "Not in that protocol" not in report([Evaluation(own, [])], "ours"), "only this run has it"


def test_json_has_null_where_a_number_is_not_finite() -> None:
    assert json.loads(json_text([{"a": math.nan, "b": (math.inf, 1.5)}])) == [
        {"a": None, "b": [None, 1.5]}
    ]
