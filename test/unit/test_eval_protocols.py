# SPDX-License-Identifier: Apache-2.0
"""The tables of protocols, data sets and published figures, and the text that is made of results."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ttt3r_ros.errors import ConfigError, SourceError
from ttt3r_ros.evaluation.datasets import DATASETS, find_sequences
from ttt3r_ros.evaluation.measurement import Result
from ttt3r_ros.evaluation.protocols import PROTOCOLS, protocol_table, protocols_of
from ttt3r_ros.evaluation.published import PUBLISHED, published
from ttt3r_ros.evaluation.tables import TITLES, Evaluation, report

ROOT = Path(__file__).resolve().parents[2]
TUM = DATASETS["tum"]


def test_every_data_set_has_a_protocol_and_every_protocol_its_own_name() -> None:
    assert {protocol.dataset for protocol in PROTOCOLS} == set(DATASETS)
    names = [(protocol.dataset, protocol.name) for protocol in PROTOCOLS]
    assert len(set(names)) == len(names)
    assert all(protocol.source and protocol.lengths for protocol in PROTOCOLS)
    assert all(set(protocol.headlines) <= set(TITLES) for protocol in PROTOCOLS)


def test_published_figures_belong_to_a_protocol_and_one_of_its_lengths() -> None:
    protocols = {(protocol.dataset, protocol.name): protocol for protocol in PROTOCOLS}
    for row in PUBLISHED:
        protocol = protocols[row.dataset, row.protocol]
        assert row.metric in protocol.headlines, row
        assert set(row.values) <= set(protocol.lengths), row
        assert all(0 < value < 300 for value in row.values.values()), row
    assert {row.method for row in published("tum", "pose", "ate_sim3_m")} == {"CUT3R", "TTT3R"}


def test_the_numbers_of_sequences_and_frames_are_those_of_the_papers() -> None:
    counts = {(p.dataset, p.name): len(p.sequences) for p in PROTOCOLS}
    assert counts["7scenes", "reconstruction"] == 18
    assert counts["sintel", "pose"] == 14
    assert counts["tum", "pose"] == 8
    assert counts["bonn", "depth"] == 5
    short = protocols_of("tum", ["pose_short"])[0]
    assert (short.sampling.stride, short.lengths) == (3, (90,))
    depth = protocols_of("sintel", ["depth"])[0]
    assert (depth.max_depth_m, depth.clip_m) == (70.0, 70.0)
    assert math.isinf(protocols_of("kitti", ["depth"])[0].max_depth_m)


def test_the_document_holds_the_table_of_protocols() -> None:
    assert protocol_table() in (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")


def test_lengths_may_be_others() -> None:
    assert [p.lengths for p in protocols_of("folder", lengths=(20, 0))] == [(20, 0)] * 3
    assert protocols_of("folder", lengths=(20, 0))[0].limit == 0
    assert protocols_of("tum", lengths=(20, 30))[0].limit == 30


@pytest.mark.parametrize(
    ("dataset", "names", "text"),
    [
        ("tumm", [], "data set is 'tumm'; expected one of tum, scannet,"),
        ("tum", ["depth"], "tum has no protocol depth; it has pose, pose_short"),
    ],
)
def test_an_unknown_name_is_told_with_those_that_exist(
    dataset: str, names: list[str], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        protocols_of(dataset, names)


def laid_out(root: Path, folders: list[str], *files: str) -> Path:
    for folder in folders:
        for file in files:
            (root / folder / file).parent.mkdir(parents=True, exist_ok=True)
            (root / folder / file).touch()
    return root


def test_sequences_are_found_under_their_short_names(tmp_path: Path) -> None:
    root = laid_out(tmp_path, ["rgbd_dataset_freiburg3_sitting_rpy", "walking_xyz", "other"], "rgb.txt")
    found = find_sequences(TUM, root, ("sitting_rpy", "walking_xyz", "walking_rpy"), ())
    assert {name: path.name for name, path in found.paths.items()} == {
        "sitting_rpy": "rgbd_dataset_freiburg3_sitting_rpy", "walking_xyz": "walking_xyz",
    }  # fmt: skip
    assert found.missing == ["walking_rpy"]


def test_without_a_list_all_are_found_and_nothing_else(tmp_path: Path) -> None:
    folders = ["scans_test/scene0708_00", "scans_test/scene0707_00"]
    root = laid_out(tmp_path, folders, "color/0.jpg", "pose/0.txt")
    (root / "scans_test" / "notes").mkdir()
    found = find_sequences(DATASETS["scannet"], root, (), ())
    assert list(found.paths) == ["scene0707_00", "scene0708_00"]


def test_depths_of_kitti_lie_elsewhere_than_its_odometry(tmp_path: Path) -> None:
    root = laid_out(tmp_path, ["sequences/00"], "times.txt", "image_2/000000.png")
    laid_out(root, ["image_gathered/drive", "groundtruth_depth_gathered/drive"], "0000000005.png")
    depth = protocols_of("kitti", ["depth"])[0]
    kitti = DATASETS["kitti"]
    assert list(find_sequences(kitti, root, depth.sequences, (), depth.places).paths) == ["drive"]
    assert list(find_sequences(kitti, root, ("00", "01"), ()).paths) == ["00"]


def test_a_folder_that_is_a_sequence_is_the_one(tmp_path: Path) -> None:
    folder = DATASETS["folder"]
    root = laid_out(tmp_path, ["walk"], "rgb/0.png")
    assert list(find_sequences(folder, root / "walk", (), ()).paths) == ["walk"]
    assert list(find_sequences(folder, root, (), ()).paths) == ["walk"]


@pytest.mark.parametrize("wanted", [[], ["walking_xyz", "walking_rpy"]])
def test_what_is_not_there_is_said_with_where_it_was_looked_for(
    tmp_path: Path, wanted: list[str]
) -> None:
    root = laid_out(tmp_path, ["walking_xyz"], "rgb.txt")
    missing = wanted[1] if wanted else "sitting_rpy"
    expected = (
        f"no sequence {missing} of TUM-dynamics; expected rgbd_dataset_freiburg3_{missing} or {missing}"
    )
    with pytest.raises(SourceError, match=expected):
        find_sequences(TUM, root, ("sitting_rpy",), wanted)
    with pytest.raises(SourceError, match="is not a folder"):
        find_sequences(TUM, tmp_path / "nowhere", (), ())


def test_the_report_puts_ours_below_the_published_and_keeps_the_failed_and_the_missing() -> None:
    protocol = protocols_of("tum", ["pose_short"])[0]
    results = [
        Result("sitting_rpy", "pose_short", 90, 90, metrics={"ate_sim3_m": 0.5, "ate_se3_m": 0.75}),
        Result("walking_rpy", "pose_short", 90, 90, 2, metrics={"ate_sim3_m": 0.25, "ate_se3_m": 0.25}),
        Result("walking_xyz", "pose_short", 90, problem="the disk is gone"),
    ]
    text = report([Evaluation(protocol, results, ("walking_static",))], "ttt3r, these weights")
    lines = text.splitlines()
    assert "| TTT3R | published weights | 0.028 | tables of later papers |" in lines
    assert "| **this run** | ttt3r, these weights | 0.375 | 2 of 4 sequences |" in lines
    assert "Not there: walking_static." in text
    assert any(line.startswith("| walking_rpy | 90 | 90 (-2) |") for line in lines)
    assert any(line.startswith("| walking_xyz | 90 | 0 | the disk is gone |") for line in lines)
    widths = {line.count("|") for line in lines if line.startswith(("| sitting", "| walking"))}
    assert len(widths) == 1, "every row has every column"
