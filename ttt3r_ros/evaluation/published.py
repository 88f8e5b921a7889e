# SPDX-License-Identifier: Apache-2.0
"""Published figures of CUT3R, TTT3R and later methods that take images one by one, to stand beside ours.

All but Slot3R's table are read second-hand, in tables of later papers and logs of re-runs, and none of these was
checked against a PDF; which of mean and median a reconstruction figure is, the tables do not say. Compare within one
source.
"""

from __future__ import annotations

from dataclasses import dataclass

# Other rules for the state of the published CUT3R weights; every other method has weights of its own.
_RULES = frozenset({"CUT3R", "TTT3R", "TTSA3R", "FILT3R", "ReCal3R", "MUT3R", "MeMix"})


@dataclass(frozen=True)
class Published:
    """What a source says about a method: one figure at one or more numbers of frames (0: all)."""

    method: str
    dataset: str
    protocol: str
    metric: str
    values: dict[int, float]
    source: str

    @property
    def weights(self) -> str:
        """Return whose weights the method ran with."""
        return "published weights" if self.method in _RULES else "its own"


_MEM3R = "Mem3R, table 5"
_RERUN = "szy233/TTT3R, re-run"
_SHORT = "tables of later papers"
_SHORT_DEPTH = "tables of later papers, number of frames not stated"
_R3 = "R3's table"
_SLOT3R = "Slot3R, table 1"
_TTT3R_ABLATION = "TTT3R, ablation"
_FILT3R = "FILT3R's table"
_RECAL3R = "ReCal3R's table"
_ZIPMAP = "ZipMap's table"
_KITTI = "tables of later papers"


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
            method,
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
        TTSA3R=(0.012, 0.030, 0.043, 0.056, 0.079, 0.091), Mem3R=(0.012, 0.042, 0.078, 0.096, 0.14, 0.15),
        **{
            "Mem3R + TTT3R gate": (0.011, 0.025, 0.037, 0.041, 0.060, 0.073),
            "Mem3R + TTSA3R gate": (0.011, 0.023, 0.032, 0.036, 0.051, 0.064),
        },
    ),
    *_rows(
        "tum", "pose", "ate_sim3_m", _RERUN, (50, 100, 200, 300, 500, 700, 1000),
        CUT3R=(0.023, 0.034, 0.056, 0.084, 0.135, 0.154, 0.166),
        TTT3R=(0.014, 0.020, 0.041, 0.046, 0.064, 0.077, 0.103),
    ),
    *_rows("tum", "pose", "ate_sim3_m", _TTT3R_ABLATION, (1000,), CUT3R=(0.173,), TTT3R=(0.106,)),
    *_rows("tum", "pose", "ate_sim3_m", f"{_TTT3R_ABLATION}, with resets", (1000,), CUT3R=(0.126,), TTT3R=(0.093,)),
    *_rows(
        "tum", "pose", "ate_sim3_m", _FILT3R, (400, 600, 800),
        TTT3R=(0.055, 0.084, 0.097), FILT3R=(0.033, 0.042, 0.057),
    ),
    *_rows("tum", "pose", "ate_sim3_m", _RECAL3R, (1000,), CUT3R=(0.333,), TTT3R=(0.160,), ReCal3R=(0.077,)),
    *_rows(
        "tum", "pose_short", "ate_sim3_m", _SHORT, (90,), CUT3R=(0.046,), TTT3R=(0.028,), TTSA3R=(0.026,),
        MUT3R=(0.042,), Spann3R=(0.056,), Point3R=(0.075,), StreamVGGT=(0.061,), R3=(0.018,), Scal3R=(0.018,),
        **{"STream3R-beta": (0.026,)},
    ),
    *_rows("tum", "pose_short", "ate_sim3_m", _ZIPMAP, (90,), CUT3R=(0.042,), TTT3R=(0.028,)),
    *_rows("tum", "pose_short", "ate_sim3_m", _RERUN, (90,), CUT3R=(0.0325,), TTT3R=(0.0189,)),
    *_rows(
        "scannet", "pose", "ate_sim3_m", _MEM3R, (50, 200, 400, 600, 800, 1000),
        CUT3R=(0.045, 0.32, 0.57, 0.66, 0.76, 0.82), TTT3R=(0.033, 0.14, 0.24, 0.28, 0.37, 0.40),
        TTSA3R=(0.033, 0.13, 0.21, 0.26, 0.36, 0.39), Mem3R=(0.040, 0.20, 0.43, 0.53, 0.65, 0.71),
        **{
            "Mem3R + TTT3R gate": (0.034, 0.13, 0.20, 0.22, 0.27, 0.29),
            "Mem3R + TTSA3R gate": (0.035, 0.12, 0.18, 0.21, 0.26, 0.30),
        },
    ),
    *_rows(
        "scannet", "pose", "ate_sim3_m", _RERUN, (50, 90, 100, 200, 300, 500, 700, 1000),
        CUT3R=(0.045, 0.0948, 0.109, 0.336, 0.486, 0.667, 0.723, 0.817),
        TTT3R=(0.034, 0.0641, 0.072, 0.144, 0.193, 0.277, 0.343, 0.406),
    ),
    *_rows("scannet", "pose", "ate_sim3_m", _RECAL3R, (1000,), CUT3R=(0.787,), TTT3R=(0.423,), ReCal3R=(0.211,)),
    *_rows(
        "scannet", "pose", "ate_sim3_m", _SHORT, (90,), CUT3R=(0.099,), TTT3R=(0.064,), TTSA3R=(0.057,),
        Spann3R=(0.096,), Point3R=(0.106,), StreamVGGT=(0.161,), R3=(0.038,), Scal3R=(0.049,),
        **{"STream3R-beta": (0.052,)},
    ),
    *_rows("scannet", "pose", "ate_sim3_m", _ZIPMAP, (90,), CUT3R=(0.096,), TTT3R=(0.065,)),
    *_rows(
        "sintel", "pose", "ate_sim3_m", _SHORT, (0,), CUT3R=(0.213,), TTT3R=(0.201,), TTSA3R=(0.210,),
        MUT3R=(0.228,), Spann3R=(0.329,), Point3R=(0.351,), StreamVGGT=(0.251,), R3=(0.115,), Scal3R=(0.168,),
        **{"STream3R-beta": (0.213,)},
    ),
    *_rows("sintel", "pose", "ate_sim3_m", _ZIPMAP, (0,), CUT3R=(0.216,), TTT3R=(0.204,)),
    *_rows("sintel", "pose", "ate_sim3_m", _RERUN, (0,), CUT3R=(0.209,), TTT3R=(0.209,)),
    *_rows("kitti", "pose", "ate_sim3_m", "LongStream's table", (0,), CUT3R=(209.8,), TTT3R=(177.7,)),
    *_rows("kitti", "pose", "ate_sim3_m", "LongStream's table, with resets", (0,), CUT3R=(91.6,), TTT3R=(72.9,)),
    *_rows("kitti", "pose", "ate_sim3_m", _RERUN, (0,), CUT3R=(192.8,), TTT3R=(161.1,)),
    *_rows(
        "kitti", "pose", "ate_sim3_m", _KITTI, (0,), STream3R=(227.8,), StreamVGGT=(226.2,), InfiniteVGGT=(183.9,),
        LongStream=(51.9,),
    ),
]  # fmt: skip

_DEPTHS = [
    *_rows(
        "sintel", "depth", "abs_rel.scale", _SHORT, (0,),
        CUT3R=(0.421,), TTT3R=(0.404,), TTSA3R=(0.401,), FILT3R=(0.407,), Spann3R=(0.622,), Point3R=(0.452,),
        StreamVGGT=(0.323,), WinT3R=(0.374,), **{"STream3R-beta": (0.264,), "STream3R W[5]": (0.279,)},
    ),
    *_rows(
        "sintel", "depth", "delta1.scale", _SHORT, (0,),
        CUT3R=(0.479,), TTT3R=(0.500,), TTSA3R=(0.500,), FILT3R=(0.545,), Spann3R=(0.426,), Point3R=(0.489,),
        StreamVGGT=(0.657,), WinT3R=(0.506,), **{"STream3R-beta": (0.705,), "STream3R W[5]": (0.686,)},
    ),
    *_rows(
        "sintel", "depth", "abs_rel.metric", _SHORT, (0,),
        CUT3R=(1.029,), TTT3R=(0.977,), FILT3R=(0.772,),
    ),
    *_rows(
        "sintel", "depth", "delta1.metric", _SHORT, (0,),
        CUT3R=(0.238,), TTT3R=(0.245,), FILT3R=(0.273,),
    ),
    *_rows(
        "bonn", "depth", "abs_rel.scale", _SHORT_DEPTH, (110,),
        CUT3R=(0.078,), TTT3R=(0.068,), TTSA3R=(0.064,), FILT3R=(0.061,), Spann3R=(0.144,), Point3R=(0.060,),
        StreamVGGT=(0.059,), WinT3R=(0.070,), **{"STream3R-beta": (0.069,), "STream3R W[5]": (0.064,)},
    ),
    *_rows(
        "bonn", "depth", "delta1.scale", _SHORT_DEPTH, (110,),
        CUT3R=(0.937,), TTT3R=(0.954,), TTSA3R=(0.965,), FILT3R=(0.970,), Spann3R=(0.813,), Point3R=(0.960,),
        StreamVGGT=(0.972,), WinT3R=(0.912,), **{"STream3R-beta": (0.952,), "STream3R W[5]": (0.967,)},
    ),
    *_rows(
        "bonn", "depth", "abs_rel.metric", _SHORT_DEPTH, (110,),
        CUT3R=(0.103,), TTT3R=(0.090,), FILT3R=(0.067,),
    ),
    *_rows(
        "bonn", "depth", "delta1.metric", _SHORT_DEPTH, (110,),
        CUT3R=(0.885,), TTT3R=(0.942,), FILT3R=(0.967,),
    ),
    *_rows(
        "kitti", "depth", "abs_rel.scale", _SHORT_DEPTH, (110,),
        CUT3R=(0.118,), TTT3R=(0.113,), TTSA3R=(0.110,), FILT3R=(0.110,), Spann3R=(0.198,), Point3R=(0.136,),
        StreamVGGT=(0.173,), WinT3R=(0.081,), **{"STream3R-beta": (0.080,), "STream3R W[5]": (0.083,)},
    ),
    *_rows(
        "kitti", "depth", "delta1.scale", _SHORT_DEPTH, (110,),
        CUT3R=(0.881,), TTT3R=(0.904,), TTSA3R=(0.912,), FILT3R=(0.910,), Spann3R=(0.737,), Point3R=(0.842,),
        StreamVGGT=(0.721,), WinT3R=(0.949,), **{"STream3R-beta": (0.947,), "STream3R W[5]": (0.952,)},
    ),
    *_rows(
        "kitti", "depth", "abs_rel.metric", _SHORT_DEPTH, (110,),
        CUT3R=(0.122,), TTT3R=(0.110,), FILT3R=(0.115,),
    ),
    *_rows(
        "kitti", "depth", "delta1.metric", _SHORT_DEPTH, (110,),
        CUT3R=(0.855,), TTT3R=(0.891,), FILT3R=(0.888,),
    ),
    *_rows("kitti", "depth", "abs_rel.metric", _RERUN, (500,), TTT3R=(0.1288,)),
    *_rows("kitti", "depth", "abs_rel.scale", _RERUN, (500,), TTT3R=(0.1259,)),
    *_rows("kitti", "depth", "delta1.metric", _RERUN, (500,), TTT3R=(0.851,)),
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
    *_rows(
        "7scenes", "reconstruction", _ACCURACY, _R3, (200, 500), CUT3R=(0.087, 0.194), TTT3R=(0.027, 0.065),
        Spann3R=(0.215, 0.343), Point3R=(0.041, 0.056), InfiniteVGGT=(0.046, 0.040), R3=(0.021, 0.022),
    ),
    *_rows(
        "7scenes", "reconstruction", _COMPLETION, _R3, (200, 500), CUT3R=(0.045, 0.092), TTT3R=(0.023, 0.030),
        Spann3R=(0.122, 0.154), Point3R=(0.023, 0.031), InfiniteVGGT=(0.031, 0.024), R3=(0.018, 0.017),
    ),
    *_rows("7scenes", "reconstruction", _ACCURACY, _R3, (200,), StreamVGGT=(0.038,)),
    *_rows("7scenes", "reconstruction", _COMPLETION, _R3, (200,), StreamVGGT=(0.029,)),
    *_rows("7scenes", "reconstruction", _ACCURACY, _RERUN, (200,), CUT3R=(0.092,), TTT3R=(0.027,)),
    *_rows("7scenes", "reconstruction", _COMPLETION, _RERUN, (200,), CUT3R=(0.048,), TTT3R=(0.023,)),
    *_rows("7scenes", "reconstruction", _NORMALS, _RERUN, (200,), CUT3R=(0.563,), TTT3R=(0.581,)),
    *_rows("7scenes", "reconstruction", _ACCURACY, _FILT3R, (300, 500), TTT3R=(0.040, 0.066), FILT3R=(0.020, 0.024)),
    *_rows(
        "7scenes", "reconstruction", _ACCURACY, _SLOT3R, (500,), CUT3R=(0.193,), TTT3R=(0.065,), Spann3R=(0.071,),
        Point3R=(0.075,), InfiniteVGGT=(0.040,), RetrieveVGGT=(0.028,), Slot3R=(0.0275,),
        **{"ZipMap-Stream": (0.102,)},
    ),
    *_rows(
        "7scenes", "reconstruction", _COMPLETION, _SLOT3R, (500,), CUT3R=(0.089,), TTT3R=(0.030,),
        Spann3R=(0.019,), Point3R=(0.027,), InfiniteVGGT=(0.024,), RetrieveVGGT=(0.029,), Slot3R=(0.016,),
        **{"ZipMap-Stream": (0.309,)},
    ),
    *_rows(
        "7scenes", "reconstruction", _NORMALS, _SLOT3R, (500,), CUT3R=(0.541,), TTT3R=(0.552,), Spann3R=(0.540,),
        Point3R=(0.551,), InfiniteVGGT=(0.562,), RetrieveVGGT=(0.508,), Slot3R=(0.579,),
        **{"ZipMap-Stream": (0.515,)},
    ),
    *_rows(
        "nrgbd", "reconstruction", _ACCURACY, _SLOT3R, (500,), CUT3R=(0.347,), TTT3R=(0.167,), Point3R=(0.211,),
        InfiniteVGGT=(0.070,), Slot3R=(0.059,),
    ),
    *_rows(
        "nrgbd", "reconstruction", _COMPLETION, _SLOT3R, (500,), CUT3R=(0.154,), TTT3R=(0.103,), Point3R=(0.071,),
        InfiniteVGGT=(0.037,), Slot3R=(0.024,),
    ),
    *_rows(
        "nrgbd", "reconstruction", _NORMALS, _SLOT3R, (500,), CUT3R=(0.554,), TTT3R=(0.622,), Point3R=(0.603,),
        InfiniteVGGT=(0.643,), Slot3R=(0.673,),
    ),
    *_rows(
        "nrgbd", "reconstruction", _ACCURACY, _RECAL3R, (700,), CUT3R=(0.388,), TTT3R=(0.197,), MeMix=(0.160,),
        TTSA3R=(0.123,), ReCal3R=(0.093,),
    ),
    *_rows(
        "nrgbd", "reconstruction", _COMPLETION, _RECAL3R, (700,), CUT3R=(0.233,), TTT3R=(0.073,), MeMix=(0.055,),
        TTSA3R=(0.043,), ReCal3R=(0.031,),
    ),
    *_rows(
        "nrgbd", "reconstruction", _NORMALS, _RECAL3R, (700,), CUT3R=(0.550,), TTT3R=(0.608,), MeMix=(0.614,),
        TTSA3R=(0.644,), ReCal3R=(0.658,),
    ),
]  # fmt: skip

PUBLISHED = (*_POSES, *_DEPTHS, *_RECONSTRUCTIONS)


def published(dataset: str, protocol: str, metric: str) -> list[Published]:
    """Return what is published of one figure."""
    return [
        row
        for row in PUBLISHED
        if (row.dataset, row.protocol, row.metric) == (dataset, protocol, metric)
    ]
