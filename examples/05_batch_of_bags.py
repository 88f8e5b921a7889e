#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Map every bag of a folder, and list the longest walks: ``python examples/05_batch_of_bags.py FOLDER DIR``.

One process for each GPU; ``--ray ADDRESS`` instead of ``--jobs`` spreads them over a cluster.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ttt3r_ros.cli.main import main as ttt3r_ros

SUFFIXES = (".mcap", ".bag", ".db3")


def main(folder: Path, output: Path) -> int:
    bags = sorted(path for path in folder.iterdir() if is_bag(path))
    status = ttt3r_ros(["run", *map(str, bags), "--output", str(output), "--jobs", "2"])
    results = json.loads((output / "summary.json").read_text())["results"]
    for result in sorted(results, key=lambda entry: -entry["path_m"]):
        print(f"{result['path_m']:8.2f} m  {result['name']}  {result['result']}")
    return status


def is_bag(path: Path) -> bool:
    return path.suffix in SUFFIXES or (path / "metadata.yaml").is_file()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
