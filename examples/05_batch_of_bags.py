#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Map every bag of a folder, and list the longest paths: ``python examples/05_batch_of_bags.py FOLDER DIR``.

Two processes at a time; ``ray="auto"`` instead of ``jobs`` distributes them over a cluster.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ttt3r_ros import map_recordings

SUFFIXES = (".mcap", ".bag", ".db3")


def main(folder: Path, output: Path) -> int:
    bags = sorted(path for path in folder.iterdir() if is_bag(path))
    results = map_recordings(bags, output, jobs=2)
    for result in sorted(results, key=lambda result: -result.path_m):
        print(f"{result.path_m:8.2f} m  {result.name}  {result.outcome} {result.problem}")
    failed = sum(result.status != 0 for result in results)
    print(f"{len(results) - failed} of {len(results)} done")
    return int(failed > 0)


def is_bag(path: Path) -> bool:
    return path.suffix in SUFFIXES or (path / "metadata.yaml").is_file()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
