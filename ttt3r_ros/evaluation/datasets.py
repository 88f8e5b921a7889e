# SPDX-License-Identifier: Apache-2.0
"""Folders of the sequences of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.datasets.registry import DATASET_FORMATS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Dataset:
    """Folder names of a dataset; ``{}`` stands for the name of a sequence."""

    name: str
    title: str
    format: str  # of ttt3r_ros.io.sources
    places: tuple[str, ...]  # below the root


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset("tum", "TUM-dynamics", "tum", ("rgbd_dataset_freiburg3_{}", "{}")),
        Dataset("scannet", "ScanNet", "scannet", ("scans_test/{}", "scans/{}", "{}")),
        Dataset("sintel", "Sintel", "sintel", ("training/final/{}", "final/{}")),
        Dataset("kitti", "KITTI", "kitti", ("dataset/sequences/{}", "sequences/{}", "{}")),
        Dataset("bonn", "Bonn", "bonn", ("rgbd_bonn_{}", "rgbd_bonn_dataset/rgbd_bonn_{}", "{}")),
        Dataset("7scenes", "7-Scenes", "7scenes", ("{}",)),
        Dataset("nrgbd", "Neural RGB-D", "nrgbd", ("{}",)),
        Dataset("folder", "folders", "auto", ("{}",)),
    )
}
_PLAIN = ("rgb", "metadata.yaml")  # a folder of images with truth, a bag


@dataclass(frozen=True)
class Found:
    """Sequences by name, and names without a sequence."""

    paths: dict[str, Path]
    missing: list[str]


def find_sequences(
    dataset: Dataset,
    root: Path,
    listed: Sequence[str],
    selected: Sequence[str],
    places: Sequence[str] = (),
) -> Found:
    """Return the selected sequences below ``root``, else those listed by a protocol, else all.

    Raises:
        SourceError: a selected sequence is missing, or there is none.
    """
    if not root.is_dir():
        msg = f"{root} is not a folder; expected the root of {dataset.title}"
        raise SourceError(msg)
    places = places or dataset.places
    if not listed and not selected:
        paths, missing = _all(dataset, root, places), []
    else:
        # The shell completes the name of a folder with a slash.
        names = list(dict.fromkeys(name.rstrip("/") for name in selected or listed))
        located = {name: _find_folder(root, name, places) for name in names}
        paths = {name: path for name, path in located.items() if path is not None}
        missing = [name for name in names if name not in paths]
    if not paths or (selected and missing):
        expected = " or ".join(place.format(missing[0] if missing else "NAME") for place in places)
        msg = f"{root} has no sequence{f' {missing[0]}' if missing else ''} of {dataset.title}; expected {expected}"
        raise SourceError(msg)
    return Found(paths, missing)


def _find_folder(root: Path, name: str, places: Sequence[str]) -> Path | None:
    candidates = (root / place.format(name) for place in places)
    return next((path for path in candidates if path.is_dir()), None)


def _all(dataset: Dataset, root: Path, places: Sequence[str]) -> dict[str, Path]:
    if _is_sequence(dataset, root):
        return {root.resolve().name: root}
    for place in places:
        before, _, after = place.partition("{}")
        paths = [path for path in sorted(root.glob(place.format("*"))) if _is_sequence(dataset, path)]
        if paths:
            ends = len(str(root / "x")) - 1 + len(before)
            return {str(path)[ends : len(str(path)) - len(after)]: path for path in paths}
    return {}


def _is_sequence(dataset: Dataset, path: Path) -> bool:
    if not path.is_dir():
        return False
    dataset_format = next((known for known in DATASET_FORMATS if known.name == dataset.format), None)
    return (
        dataset_format.matches(path)
        if dataset_format
        else any((path / name).exists() for name in _PLAIN)
    )
