# SPDX-License-Identifier: Apache-2.0
"""The subcommand ``view``: a run in the browser."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttt3r_ros.cli.arguments import integer

if TYPE_CHECKING:
    import argparse

DESCRIPTION = (
    "Show what `ttt3r_ros run` or the demo left in the browser: points, cameras, images, depth, frame by frame. A"
    " run with `--outputs default rgb depth confidence` can be played and its points chosen by confidence; of others"
    " the map and the trajectory are shown."
)


def add_parser(commands: Any) -> None:
    """Add the subcommand ``view``."""
    parser = commands.add_parser("view", help="look at a run in the browser", description=DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="RUN_FOLDER", help="what a run has written")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine alone)"
    )
    parser.add_argument(
        "--port", type=integer(0, 65535), default=8080, help="port to listen on; 0: any (8080)"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ttt3r_ros.viewer.replay import Replay, open_recording  # noqa: PLC0415 - OpenCV takes a while to load

    replay = Replay(open_recording(arguments.folder.expanduser()), arguments.host, arguments.port)
    print(f"{arguments.folder} is at {replay.page.url} until Ctrl-C", flush=True)
    with suppress(KeyboardInterrupt):
        replay.run(threading.Event())
    return 0
