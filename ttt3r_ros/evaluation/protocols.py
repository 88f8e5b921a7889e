# SPDX-License-Identifier: Apache-2.0
"""Protocols as data: frames, limits, alignments and figures per dataset and task.

The published ones repeat the evaluation of the TTT3R and CUT3R papers as far as it is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from textwrap import fill
from typing import TYPE_CHECKING

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.evaluation.datasets import DATASETS

if TYPE_CHECKING:
    from collections.abc import Sequence

POSE, DEPTH, RECONSTRUCTION = "pose", "depth", "reconstruction"
_COLUMNS = 120  # of documents
_CENTER_224 = (224 / 512, 224 / 384)
_TTT3R = "TTT3R evaluation"
_CUT3R = "CUT3R and MonST3R evaluation"
_OURS = "this package"
_SELF_VIEW = f"points of pose x self view: {_OURS}"  # the published ones are those of the world head


@dataclass(frozen=True)
class Sampling:
    """Selection and preprocessing of the frames of a sequence."""

    stride: int = 1
    first: int = 0  # index of the first frame
    only_with: str = ""  # pose, depth: frames without this ground truth do not count
    whole_image: bool = False  # squeezed to the network's multiples of 16 instead of cropped
    rectified: bool = False  # undistorted where the lens is known, as the node does


@dataclass(frozen=True)
class Protocol:
    """One row of the table.

    ``alignments`` of poses are rigid and with a scale; of depths none, one scale per sequence, one scale and one
    shift; of reconstructions the first camera and ICP, or the medians of depth and size and ICP.
    """

    dataset: str
    name: str
    task: str
    lengths: tuple[int, ...]  # first so many of the sampled frames; 0: all
    alignments: tuple[str, ...]
    headlines: tuple[str, ...]  # figures that are compared with published ones
    source: str
    sequences: tuple[str, ...] = ()  # empty: all that are there
    expected: int = 0  # how many these should be, where none are named and it is known
    own_lengths: tuple[int, ...] = ()  # those that the source has not got
    places: tuple[str, ...] = ()  # where they lie, if elsewhere than those of the data set
    sampling: Sampling = Sampling()
    mean: str = "sequences"  # or pixels: how figures of sequences are averaged
    max_depth_m: float = math.inf  # true depth from here on is no depth
    clip_m: float = math.inf  # aligned predictions are cut to this depth
    pixel_step: int = 1  # every so many rows and columns of the true depth
    center: tuple[float, float] = (
        1.0,
        1.0,
    )  # fraction of the network image, width and height, that counts
    icp_m: float = 0.1  # farthest partner

    @property
    def limit(self) -> int:
        """Return the number of frames of the longest evaluation, 0: all."""
        return 0 if 0 in self.lengths else max(self.lengths)

    @property
    def is_own(self) -> bool:
        """Return whether this package defines the protocol."""
        return self.source.startswith(_OURS)

    @property
    def count(self) -> int:
        """Return the number of sequences, 0: unknown."""
        return len(self.sequences) or self.expected


_POSE = Protocol("", "pose", POSE, (0,), ("se3", "sim3"), ("ate_sim3_m",), _OURS)
_DEPTH = Protocol(
    "",
    "depth",
    DEPTH,
    (0,),
    ("metric", "scale", "shift"),
    ("abs_rel.metric", "delta1.metric", "abs_rel.scale", "delta1.scale", "abs_rel.shift"),
    _OURS,
    mean="pixels",
)
_RECONSTRUCTION = Protocol(
    "",
    "reconstruction",
    RECONSTRUCTION,
    (0,),
    ("metric", "scaled"),
    ("accuracy_mean.scaled", "completion_mean.scaled", "normals_mean.scaled"),
    f"{_OURS}; {_SELF_VIEW}",
    max_depth_m=10.0,
)
_AS_NODE = Sampling(rectified=True)
_KITTI_DEPTH = (
    "depth_selection/val_selection_cropped/image_gathered/{}",
    "val_selection_cropped/image_gathered/{}",
    "image_gathered/{}",
    "val/{}",
)
_LONG = (50, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
_EACH_50 = tuple(range(50, 1001, 50))
_TO_500 = _EACH_50[:10]
_TUM = tuple(
    f"{kind}_{motion}"
    for kind in ("sitting", "walking")
    for motion in ("halfsphere", "rpy", "static", "xyz")
)
_SINTEL_POSE = (
    "alley_2", "ambush_4", "ambush_5", "ambush_6", "cave_2", "cave_4", "market_2", "market_5", "market_6",
    "shaman_3", "sleeping_1", "sleeping_2", "temple_2", "temple_3",
)  # fmt: skip
_BONN = ("balloon2", "crowd2", "crowd3", "person_tracking2", "synchronous")
_7SCENES_TEST = {
    "chess": (3, 5), "fire": (3, 4), "heads": (1,), "office": (2, 6, 7, 9), "pumpkin": (1, 7),
    "redkitchen": (3, 4, 6, 12, 14), "stairs": (1, 4),
}  # fmt: skip
_7SCENES = tuple(f"{scene}/seq-{k:02d}" for scene, numbers in _7SCENES_TEST.items() for k in numbers)
_NRGBD = (
    "breakfast_room", "complete_kitchen", "green_room", "gray_white_room", "kitchen", "morning_apartment",
    "staircase", "thin_geometry", "whiteroom",
)  # fmt: skip

PROTOCOLS = (
    replace(
        _POSE, dataset="tum", lengths=_LONG, sampling=Sampling(only_with=POSE), sequences=_TUM, source=_TTT3R,
    ),
    replace(
        _POSE, dataset="tum", name="pose_short", lengths=(90,), sampling=Sampling(stride=3, only_with=POSE),
        sequences=_TUM, source=_CUT3R,
    ),
    replace(
        _POSE, dataset="scannet", lengths=(50, 90, *_EACH_50[1:]), sampling=Sampling(stride=3), expected=100,
        source=f"{_TTT3R}; 90 frames: {_CUT3R}",
    ),
    replace(_POSE, dataset="sintel", sequences=_SINTEL_POSE, source=_CUT3R),
    replace(
        _DEPTH, dataset="sintel", sampling=Sampling(whole_image=True), max_depth_m=70.0, clip_m=70.0,
        expected=23, source=_TTT3R,
    ),
    replace(
        _POSE, dataset="kitti", sequences=tuple(f"{k:02d}" for k in range(11)),
        source="KITTI odometry, as in LongStream's table",
    ),
    replace(
        _DEPTH, dataset="kitti", lengths=(50, 100, 110, *_TO_500[2:]), places=_KITTI_DEPTH, expected=13,
        sampling=Sampling(only_with=DEPTH, whole_image=True), source=_TTT3R,
    ),
    replace(
        _DEPTH, dataset="bonn", lengths=(50, 100, 110, *_TO_500[2:]), own_lengths=(110,), sequences=_BONN,
        sampling=Sampling(first=30, whole_image=True), max_depth_m=70.0, pixel_step=2,
        source=f"{_TTT3R}; there every pixel",
    ),
    replace(
        _RECONSTRUCTION, dataset="7scenes", lengths=(*_TO_500[:8], 500), own_lengths=(500,), sequences=_7SCENES,
        sampling=Sampling(stride=2), center=_CENTER_224, source=f"{_TTT3R}, but {_SELF_VIEW}",
    ),
    replace(_POSE, dataset="7scenes", sequences=_7SCENES, sampling=Sampling(stride=2)),
    replace(
        _RECONSTRUCTION, dataset="nrgbd", lengths=(500, 700), sequences=_NRGBD, center=_CENTER_224,
        source=f"{_OURS}: as 7-Scenes, every frame; the papers' sampling is not known; {_SELF_VIEW}",
    ),
    replace(_POSE, dataset="nrgbd", sequences=_NRGBD),
    replace(_POSE, dataset="folder", sampling=_AS_NODE),
    replace(_DEPTH, dataset="folder", sampling=_AS_NODE, pixel_step=4),
    replace(
        _RECONSTRUCTION, dataset="folder", sampling=_AS_NODE, max_depth_m=math.inf,
        source=f"{_OURS}: as 7-Scenes, whole image; {_SELF_VIEW}",
    ),
)  # fmt: skip


def protocols_of(dataset: str, names: Sequence[str] = (), lengths: Sequence[int] = ()) -> list[Protocol]:
    """Return the protocols of a data set, those of some names only, at other lengths if there are any.

    Raises:
        ConfigError: there is no such data set, or it has no such protocol.
    """
    if dataset not in DATASETS:
        msg = f"data set is '{dataset}'; expected one of {', '.join(DATASETS)}"
        raise ConfigError(msg)
    known = [protocol for protocol in PROTOCOLS if protocol.dataset == dataset]
    unknown = sorted(set(names) - {protocol.name for protocol in known})
    if unknown:
        msg = (
            f"{dataset} has no protocol {', '.join(unknown)}; it has {', '.join(p.name for p in known)}"
        )
        raise ConfigError(msg)
    selected = [protocol for protocol in known if not names or protocol.name in names]
    return [_at_lengths(protocol, lengths) if lengths else protocol for protocol in selected]


def _at_lengths(protocol: Protocol, lengths: Sequence[int]) -> Protocol:
    published = set(protocol.lengths) - set(protocol.own_lengths)
    chosen = tuple(dict.fromkeys(lengths))
    return replace(
        protocol,
        lengths=chosen,
        own_lengths=tuple(length for length in chosen if length not in published),
    )


def protocol_list() -> str:
    """Return the list of all protocols in Markdown, as in docs/evaluation.md."""
    return "".join(f"{_item(protocol)}\n" for protocol in PROTOCOLS)


def _item(protocol: Protocol) -> str:
    count = str(len(protocol.sequences)) if protocol.sequences else _all(protocol)
    parts = [
        f"{count} sequences",
        f"frames: {_frames(protocol)}",
        *([f"stride {protocol.sampling.stride}"] if protocol.sampling.stride > 1 else []),
        *([f"true depth {depths}"] if (depths := _depths(protocol)) else []),
        f"alignments {', '.join(protocol.alignments)}",
        f"mean over {protocol.mean}",
    ]
    title = f"{DATASETS[protocol.dataset].title}, `{protocol.name}`"
    text = f"* **{title}**: {'; '.join(parts)}. Source: {protocol.source}."
    return fill(text, _COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _all(protocol: Protocol) -> str:
    return f"all ({protocol.expected})" if protocol.expected else "all"


def _length(protocol: Protocol, length: int) -> str:
    text = str(length) if length else "all"
    return f"{text} ({_OURS})" if length in protocol.own_lengths else text


def _frames(protocol: Protocol) -> str:
    sampling = protocol.sampling
    words = [", ".join(_length(protocol, length) for length in protocol.lengths)]
    words += [f"from frame {sampling.first}"] if sampling.first else []
    words += [f"those with true {sampling.only_with}"] if sampling.only_with else []
    words += ["image not cropped"] if sampling.whole_image else []
    return "; ".join(words)


def _depths(protocol: Protocol) -> str:
    if protocol.task == POSE:
        return ""
    words = ["above 0" if math.isinf(protocol.max_depth_m) else f"0 to {protocol.max_depth_m:g} m"]
    words += [f"predictions cut to {protocol.clip_m:g} m"] if math.isfinite(protocol.clip_m) else []
    words += [f"one in {protocol.pixel_step} rows and columns"] if protocol.pixel_step > 1 else []
    words += ["central 224x224 of 512x384"] if protocol.center == _CENTER_224 else []
    words += [f"ICP within {protocol.icp_m:g} m"] if protocol.task == RECONSTRUCTION else []
    return "; ".join(words)
