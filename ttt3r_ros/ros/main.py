# SPDX-License-Identifier: Apache-2.0
"""Entry point of mapping_node; imports the node, which takes seconds, so that an interrupt is one line."""

from __future__ import annotations

import os
import signal
import sys

_INTERRUPTED = 128 + signal.SIGINT


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; return the exit status."""
    signal.signal(signal.SIGINT, _end_import)
    try:
        from ttt3r_ros.errors import describe_error  # noqa: PLC0415
        from ttt3r_ros.ros import mapping_node  # noqa: PLC0415
    except (ImportError, MemoryError, OSError) as error:
        _print(describe_error(error))
        return 1
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return mapping_node.main(args)


def _end_import(_: int, __: object) -> None:
    # Not an exception: an extension module can report it as another one, or continue.
    _print("interrupted before the node was ready")
    os._exit(_INTERRUPTED)


def _print(text: str) -> None:
    print(f"mapping_node: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the only line


if __name__ == "__main__":
    sys.exit(main())
