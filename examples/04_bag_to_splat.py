#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From a bag to what Gaussian-splatting tools begin with: ``python examples/04_bag_to_splat.py BAG DIR [every Nth]``.

Writes images, cameras and first points as a COLMAP model and as nerfstudio's ``transforms.json``. Then, for example,
``ns-train splatfacto --data DIR`` or ``gsplat`` and ``brush`` on DIR/colmap.
"""

from __future__ import annotations

import sys

from ttt3r_ros import SourceOptions, map_recording


def main(bag: str, folder: str, stride: str = "1") -> int:
    result = map_recording(
        bag,
        folder,
        outputs=("default", "colmap", "nerfstudio"),
        options=SourceOptions(stride=int(stride)),
        progress=True,
    )
    print(*result.summary(), *result.problems, sep="\n")
    if result.is_ok:
        print(f"{result.mapped} images and {result.points} points: ns-train splatfacto --data {folder}")
    return int(not result.is_ok)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
