#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From a bag to what Gaussian-splatting tools begin with: ``python examples/04_bag_to_splat.py BAG DIR [every Nth]``.

Writes images, cameras and first points as a COLMAP model and as nerfstudio's ``transforms.json``. Then, for example,
``ns-train splatfacto --data DIR`` or ``gsplat`` and ``brush`` on DIR/colmap.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ttt3r_ros.cli.main import main as ttt3r_ros
from ttt3r_ros.io.run_folder import RunFolder


def main(bag: str, folder: str, stride: str = "1") -> int:
    status = ttt3r_ros(
        ["run", bag, "--output", folder, "--stride", stride, "--outputs", "default,colmap,nerfstudio"]
    )
    if status == 0:
        run = RunFolder(Path(folder))
        print(
            f"{len(run)} images and {len(run.cloud().points)} points: ns-train splatfacto --data {folder}"
        )
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
