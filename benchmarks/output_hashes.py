# SPDX-License-Identifier: Apache-2.0
"""Hash the output of `ttt3r_ros run`, to compare two versions of the code bit by bit.

    python benchmarks/output_hashes.py --room out/images
    ttt3r_ros run out/images --outputs default depth bag --output out/room
    python benchmarks/output_hashes.py out/room

The first command writes the images of the demo's room. The last one prints one SHA-256 per kind of output:
trajectory, map, depth, bag (topics, stamps and message bytes) and the network's state. Column names, settings and
timings are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rosbags.highlevel import AnyReader

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from ttt3r_ros.io.state_file import read_state
from ttt3r_ros.synthetic.room import ProceduralRoom

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILES = {
    "trajectory": ("trajectory*.txt",),
    "map": ("map.ply", "map.pcd", "map.pgm", "map.yaml"),
    "depth": ("depth/*.png",),
}


def files(folder: Path, patterns: Iterable[str]) -> Iterator[bytes]:
    """Yield name and content of each matching file, in order."""
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            yield path.relative_to(folder).as_posix().encode()
            yield path.read_bytes()


def write_room(folder: Path) -> None:
    """Write the demo's room as a folder of images with calibration and true poses."""
    room = ProceduralRoom()
    (folder / "rgb").mkdir(parents=True)
    for frame in room.frames():
        cv2.imwrite(str(folder / "rgb" / f"{frame.stamp_ns * 1e-9:.6f}.png"), frame.rgb[..., ::-1])
    camera = room.intrinsics
    fields = {name: getattr(camera, name) for name in ("fx", "fy", "cx", "cy", "width", "height")}
    (folder / "camera.json").write_text(json.dumps(fields), encoding="utf-8")


def bag_messages(folder: Path) -> Iterator[bytes]:
    """Yield topic, stamp and bytes of each message."""
    with AnyReader([folder]) as reader:
        for connection, stamp_ns, data in reader.messages():
            yield f"{connection.topic} {connection.msgtype} {stamp_ns}".encode()
            yield bytes(data)


def network_state(path: Path) -> Iterator[bytes]:
    """Yield name and values of each array of the network's state and of the segment's poses."""
    arrays = old_network_state(path) or new_network_state(path)
    for name in sorted(arrays):
        yield f"session.{name}".encode()
        yield arrays[name].tobytes()


def new_network_state(path: Path) -> dict[str, Any]:
    """Return the arrays of a state file by name."""
    session = read_state(path)["reconstructor"]["session"]
    arrays: dict[str, Any] = session["network_state"] | {
        "T_world_segment": session["T_world_segment"],
        "T_world_camera": session["T_world_camera"],
        "counts": np.array([session["segment"], session["frames_in_segment"]]),
    }
    return arrays


def old_network_state(path: Path) -> dict[str, Any]:
    """Return the arrays of a state file from before version 1, which has one entry for each; none for other files."""
    with np.load(path) as arrays:
        names = [name for name in arrays.files if name.startswith("session.")]
        return {name.removeprefix("session."): arrays[name] for name in names}


def digest(parts: Iterable[bytes]) -> str:
    """Return the SHA-256 of byte strings, or a dash where there is none."""
    sha, count = hashlib.sha256(), 0
    for part in parts:
        sha.update(len(part).to_bytes(8, "little"))
        sha.update(part)
        count += 1
    return sha.hexdigest() if count else "-"


def main() -> None:
    """Print the hashes of the given run folders."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="output folder of a run")
    parser.add_argument(
        "--room", type=Path, metavar="FOLDER", help="write the images of the demo's room"
    )
    arguments = parser.parse_args()
    if arguments.room:
        write_room(arguments.room)
    for folder in arguments.folders:
        for kind, patterns in FILES.items():
            print(f"{folder.name:12} {kind:10} {digest(files(folder, patterns))}")
        bag, state = folder / "bag", folder / "state.npz"
        print(f"{folder.name:12} {'bag':10} {digest(bag_messages(bag) if bag.exists() else ())}")
        print(f"{folder.name:12} {'state':10} {digest(network_state(state) if state.exists() else ())}")


if __name__ == "__main__":
    main()
