# SPDX-License-Identifier: Apache-2.0
"""The subcommand ``view``: show a run in the browser."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttt3r_ros.cli.arguments import integer

if TYPE_CHECKING:
    import argparse

DESCRIPTION = (
    "Show the output of `ttt3r_ros run` or of the demo in the browser: points, cameras, images and depth. A run with"
    " `--outputs default rgb depth confidence` can be played frame by frame and filtered by confidence; of other runs"
    " the page shows map and trajectory."
)


def add_parser(commands: Any) -> None:
    """Add the subcommand ``view``."""
    parser = commands.add_parser("view", help="show a run in the browser", description=DESCRIPTION)
    parser.add_argument(
        "folder", type=Path, metavar="RUN_FOLDER", help="folder with the output of a run"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (127.0.0.1: only this machine)"
    )
    parser.add_argument(
        "--port", type=integer(0, 65535), default=8080, help="port to listen on; 0: any free port (8080)"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ttt3r_ros.viewer.replay import Replay, open_run  # noqa: PLC0415 - loads OpenCV

    replay = Replay(open_run(arguments.folder.expanduser()), arguments.host, arguments.port)
    print(f"{arguments.folder} is at {replay.page.url} until Ctrl-C", flush=True)
    with suppress(KeyboardInterrupt):
        replay.run(threading.Event())
    return 0
