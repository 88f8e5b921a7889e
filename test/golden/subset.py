#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cut a folder of golden cases down to the few, thinned-out ones that are kept here.

Usage: ``python test/golden/subset.py CASE_DIR``. Dense maps keep every fourth pixel along each axis; the weights
come from recipe.py; the float16-rotary arrays, which bound less, are kept for the outputs alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

CASES = (
    "linear_a__main_ttt3r",
    "linear_a__main_cut3r",
    "linear_a__demo_ttt3r",
    "dpt_small__portrait_odd_ttt3r",
    "dpt_small__main_cut3r",
)
DENSE = ("pts3d_in_self_view", "pts3d_in_other_view", "rgb", "conf", "conf_self", "demo_pts_world")
DENSE_STRIDE = "[:,2::4,2::4]"


def main(source: Path, target: Path) -> None:
    for weights in {name.split("__")[0] for name in CASES}:
        description = json.loads((source / f"{weights}.json").read_text())
        (target / f"{weights}.json").write_text(json.dumps(description | {"dense_stride": DENSE_STRIDE}))
    for name in CASES:
        with np.load(source / f"{name}.npz") as archive:
            arrays = {key: thinned(key, archive[key]) for key in archive.files}
        np.savez_compressed(target / f"{name}.npz", **arrays)
    (target / "geometry.npz").write_bytes((source / "geometry.npz").read_bytes())
    rows = json.loads((source / "preprocess.json").read_text())
    rows["rows"] = [row for row in rows["rows"] if row["crop"] and row["fn"] == "load_images"]
    (target / "preprocess.json").write_text(json.dumps(rows))


def thinned(name: str, array: np.ndarray) -> np.ndarray:
    return array[:, 2::4, 2::4] if name.removeprefix("rope32_") in DENSE else array


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)
