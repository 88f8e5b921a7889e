# SPDX-License-Identifier: Apache-2.0
"""Published figures of CUT3R and TTT3R, to stand beside ours.

All are read second-hand, in tables of later papers and logs of re-runs, and none was checked against a PDF; which
of mean and median a reconstruction figure is, the tables do not say. Compare within one source.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """What a source says about a method: one figure at one or more numbers of frames (0: all)."""

    method: str
    dataset: str
    protocol: str
    metric: str
    values: dict[int, float]
    source: str


_MEM3R = "Mem3R, table 5"
_RERUN = "szy233/TTT3R, re-run"
_SHORT = "tables of later papers"
_SHORT_DEPTH = "tables of later papers, number of frames not stated"
_R3 = "R3's table"
_SLOT3R = "Slot3R, table 1"
_TTT3R_ABLATION = "TTT3R, ablation"


def _rows(
    dataset: str,
    protocol: str,
    metric: str,
    source: str,
    lengths: tuple[int, ...],
    **methods: tuple[float, ...],
) -> list[Published]:
    return [
        Published(
            method.replace("_", " "),
            dataset,
            protocol,
            metric,
            dict(zip(lengths, values, strict=True)),
            source,
        )
        for method, values in methods.items()
    ]


_POSES = [
    *_rows(
        "tum", "pose", "ate_sim3_m", _MEM3R, (50, 200, 400, 600, 800, 1000),
        CUT3R=(0.023, 0.061, 0.12, 0.14, 0.17, 0.17), TTT3R=(0.014, 0.041, 0.051, 0.067, 0.091, 0.11),
    ),
    *_rows(
        "tum", "pose", "ate_sim3_m", _RERUN, (50, 100, 200, 300, 500, 700, 1000),
        CUT3R=(0.023, 0.034, 0.056, 0.084, 0.135, 0.154, 0.166),
        TTT3R=(0.014, 0.020, 0.041, 0.046, 0.064, 0.077, 0.103),
    ),
    *_rows("tum", "pose", "ate_sim3_m", _TTT3R_ABLATION, (1000,), CUT3R=(0.173,), TTT3R=(0.106,)),
    *_rows("tum", "pose_short", "ate_sim3_m", _SHORT, (90,), CUT3R=(0.046,), TTT3R=(0.028,)),
    *_rows("tum", "pose_short", "ate_sim3_m", _RERUN, (90,), CUT3R=(0.0325,), TTT3R=(0.0189,)),
    *_rows(
        "scannet", "pose", "ate_sim3_m", _MEM3R, (50, 200, 400, 600, 800, 1000),
        CUT3R=(0.045, 0.32, 0.57, 0.66, 0.76, 0.82), TTT3R=(0.033, 0.14, 0.24, 0.28, 0.37, 0.40),
    ),
    *_rows(
        "scannet", "pose", "ate_sim3_m", _RERUN, (50, 90, 100, 200, 300, 500, 700, 1000),
        CUT3R=(0.045, 0.0948, 0.109, 0.336, 0.486, 0.667, 0.723, 0.817),
        TTT3R=(0.034, 0.0641, 0.072, 0.144, 0.193, 0.277, 0.343, 0.406),
    ),
    *_rows("scannet", "pose", "ate_sim3_m", _SHORT, (90,), CUT3R=(0.099,), TTT3R=(0.064,)),
    *_rows("sintel", "pose", "ate_sim3_m", _SHORT, (0,), CUT3R=(0.213,), TTT3R=(0.201,)),
    *_rows("sintel", "pose", "ate_sim3_m", _RERUN, (0,), CUT3R=(0.209,), TTT3R=(0.209,)),
    *_rows("kitti", "pose", "ate_sim3_m", "LongStream's table", (0,), CUT3R=(209.8,), TTT3R=(177.7,)),
    *_rows("kitti", "pose", "ate_sim3_m", "LongStream's table, with resets", (0,), CUT3R=(91.6,), TTT3R=(72.9,)),
    *_rows("kitti", "pose", "ate_sim3_m", _RERUN, (0,), CUT3R=(192.8,), TTT3R=(161.1,)),
]  # fmt: skip

_DEPTHS = [
    *_rows("sintel", "depth", "abs_rel.scale", _SHORT, (0,), CUT3R=(0.421,), TTT3R=(0.404,)),
    *_rows("sintel", "depth", "delta1.scale", _SHORT, (0,), CUT3R=(0.479,), TTT3R=(0.500,)),
    *_rows("sintel", "depth", "abs_rel.metric", _SHORT, (0,), CUT3R=(1.029,), TTT3R=(0.977,)),
    *_rows("bonn", "depth", "abs_rel.scale", _SHORT_DEPTH, (110,), CUT3R=(0.078,), TTT3R=(0.068,)),
    *_rows("bonn", "depth", "delta1.scale", _SHORT_DEPTH, (110,), CUT3R=(0.937,), TTT3R=(0.954,)),
    *_rows("bonn", "depth", "abs_rel.metric", _SHORT_DEPTH, (110,), CUT3R=(0.103,), TTT3R=(0.090,)),
    *_rows("kitti", "depth", "abs_rel.scale", _SHORT_DEPTH, (110,), CUT3R=(0.118,), TTT3R=(0.113,)),
    *_rows("kitti", "depth", "delta1.scale", _SHORT_DEPTH, (110,), CUT3R=(0.881,), TTT3R=(0.904,)),
    *_rows("kitti", "depth", "abs_rel.metric", _SHORT_DEPTH, (110,), CUT3R=(0.122,), TTT3R=(0.110,)),
    *_rows("kitti", "depth", "abs_rel.metric", _RERUN, (500,), TTT3R=(0.1288,)),
    *_rows("kitti", "depth", "abs_rel.scale", _RERUN, (500,), TTT3R=(0.1259,)),
    *_rows("kitti", "depth", "delta1.scale", _RERUN, (500,), TTT3R=(0.867,)),
    *_rows(
        "kitti", "depth", "abs_rel.shift", _RERUN, (50, 100, 200, 300, 400, 500),
        CUT3R=(0.0969, 0.1119, 0.1079, 0.1132, 0.1169, 0.1190),
        TTT3R=(0.0924, 0.1005, 0.0964, 0.1008, 0.1045, 0.1074),
    ),
    *_rows(
        "bonn", "depth", "abs_rel.shift", _RERUN, (50, 100, 200, 300, 400, 500),
        CUT3R=(0.0749, 0.0704, 0.0679, 0.0859, 0.0867, 0.0819),
        TTT3R=(0.0700, 0.0610, 0.0634, 0.0750, 0.0747, 0.0720),
    ),
]  # fmt: skip

_ACCURACY, _COMPLETION, _NORMALS = (
    "accuracy_mean.scaled",
    "completion_mean.scaled",
    "normals_mean.scaled",
)
_RECONSTRUCTIONS = [
    *_rows("7scenes", "reconstruction", _ACCURACY, _R3, (200, 500), CUT3R=(0.087, 0.194), TTT3R=(0.027, 0.065)),
    *_rows("7scenes", "reconstruction", _COMPLETION, _R3, (200, 500), CUT3R=(0.045, 0.092), TTT3R=(0.023, 0.030)),
    *_rows("7scenes", "reconstruction", _ACCURACY, _RERUN, (200,), CUT3R=(0.092,), TTT3R=(0.027,)),
    *_rows("7scenes", "reconstruction", _COMPLETION, _RERUN, (200,), CUT3R=(0.048,), TTT3R=(0.023,)),
    *_rows("7scenes", "reconstruction", _NORMALS, _RERUN, (200,), CUT3R=(0.563,), TTT3R=(0.581,)),
    *_rows("7scenes", "reconstruction", _NORMALS, _SLOT3R, (500,), CUT3R=(0.541,), TTT3R=(0.552,)),
    *_rows("nrgbd", "reconstruction", _ACCURACY, _SLOT3R, (500,), CUT3R=(0.347,), TTT3R=(0.167,)),
    *_rows("nrgbd", "reconstruction", _COMPLETION, _SLOT3R, (500,), CUT3R=(0.154,), TTT3R=(0.103,)),
    *_rows("nrgbd", "reconstruction", _NORMALS, _SLOT3R, (500,), CUT3R=(0.554,), TTT3R=(0.622,)),
]  # fmt: skip

PUBLISHED = (*_POSES, *_DEPTHS, *_RECONSTRUCTIONS)


def published(dataset: str, protocol: str, metric: str) -> list[Published]:
    """Return what is published of one figure."""
    return [
        row
        for row in PUBLISHED
        if (row.dataset, row.protocol, row.metric) == (dataset, protocol, metric)
    ]
