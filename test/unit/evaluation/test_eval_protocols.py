# SPDX-License-Identifier: Apache-2.0
"""The tables of protocols, datasets and published figures."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ttt3r_ros.errors import ConfigError, SourceError
from ttt3r_ros.evaluation.datasets import DATASETS, find_sequences
from ttt3r_ros.evaluation.protocols import PROTOCOLS, protocol_list, protocols_of
from ttt3r_ros.evaluation.published import PUBLISHED
from ttt3r_ros.evaluation.tables import TITLES

ROOT = Path(__file__).resolve().parents[3]
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
    keys = [(r.method, r.dataset, r.protocol, r.metric, r.source, min(r.values)) for r in PUBLISHED]
    assert len(set(keys)) == len(keys), "no row stands there twice"


LONG = (50, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
INF = math.inf
CENTER = (224 / 512, 224 / 384)
# Section 10 of the specification: sequences, frames, of which not there, stride, first, cap and cut [m], mean over.
SPECIFIED = {
    ("tum", "pose"): (8, LONG, (), 1, 0, INF, INF, "sequences"),
    ("tum", "pose_short"): (8, (90,), (), 3, 0, INF, INF, "sequences"),
    ("scannet", "pose"): (100, (50, 90, *range(100, 1001, 50)), (), 3, 0, INF, INF, "sequences"),
    ("sintel", "pose"): (14, (0,), (), 1, 0, INF, INF, "sequences"),
    ("sintel", "depth"): (23, (0,), (), 1, 0, 70.0, 70.0, "pixels"),
    ("kitti", "depth"): (13, (50, 100, 110, *range(150, 501, 50)), (), 1, 0, INF, INF, "pixels"),
    ("bonn", "depth"): (5, (50, 100, 110, *range(150, 501, 50)), (110,), 1, 30, 70.0, INF, "pixels"),
    ("7scenes", "reconstruction"): (
        18,
        (*range(50, 401, 50), 500),
        (500,),
        2,
        0,
        10.0,
        INF,
        "sequences",
    ),
}


@pytest.mark.parametrize("key", SPECIFIED, ids="-".join)
def test_a_protocol_has_the_numbers_of_the_specification(key: tuple[str, str]) -> None:
    (p,) = protocols_of(key[0], [key[1]])
    sampling = p.sampling
    assert SPECIFIED[key] == (
        p.count, p.lengths, p.own_lengths, sampling.stride, sampling.first, p.max_depth_m, p.clip_m, p.mean,
    )  # fmt: skip
    assert p.alignments == {
        "pose": ("se3", "sim3"), "depth": ("metric", "scale", "shift"), "reconstruction": ("metric", "scaled"),
    }[p.task]  # fmt: skip
    assert sampling.whole_image == (p.task == "depth")
    assert sampling.only_with == {"tum": "pose", "kitti": "depth"}.get(p.dataset, "")
    assert not sampling.rectified
    is_reconstruction = p.task == "reconstruction"
    assert (p.center, p.icp_m) == (CENTER if is_reconstruction else (1.0, 1.0), 0.1)
    assert ("pose x self view: this package" in p.source) == is_reconstruction


def test_the_document_holds_the_table_of_protocols() -> None:
    assert protocol_list() in (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")


def test_lengths_may_be_others() -> None:
    assert [p.lengths for p in protocols_of("folder", lengths=(20, 0))] == [(20, 0)] * 3
    assert protocols_of("folder", lengths=(20, 0))[0].limit == 0
    assert protocols_of("tum", lengths=(20, 30))[0].limit == 30
    assert protocols_of("tum", lengths=(50, 20, 50))[0].lengths == (50, 20)
    assert protocols_of("tum", lengths=(50, 20, 50))[0].own_lengths == (20,)


def test_a_name_may_come_with_a_slash_and_twice(tmp_path: Path) -> None:
    root = laid_out(tmp_path, ["a_ok"], "rgb/0.png")
    found = find_sequences(DATASETS["folder"], root, (), ["a_ok/", "a_ok"])
    assert list(found.paths) == ["a_ok"]


@pytest.mark.parametrize(
    ("dataset", "names", "text"),
    [
        ("tumm", [], "data set is 'tumm'; expected one of tum, scannet,"),
        ("tum", ["depth"], "tum has no protocol depth; it has pose, pose_short"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_existing_names(
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


@pytest.mark.parametrize("selected", [[], ["walking_xyz", "walking_rpy"]])
def test_a_missing_sequence_is_an_error_with_its_path(tmp_path: Path, selected: list[str]) -> None:
    root = laid_out(tmp_path, ["walking_xyz"], "rgb.txt")
    missing = selected[1] if selected else "sitting_rpy"
    expected = (
        f"no sequence {missing} of TUM-dynamics; expected rgbd_dataset_freiburg3_{missing} or {missing}"
    )
    with pytest.raises(SourceError, match=expected):
        find_sequences(TUM, root, ("sitting_rpy",), selected)
    with pytest.raises(SourceError, match="is not a folder"):
        find_sequences(TUM, tmp_path / "nowhere", (), ())
