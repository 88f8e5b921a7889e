# SPDX-License-Identifier: Apache-2.0
"""Waits for `ttt3r_ros run` in another process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

PATIENCE_S = 60.0


def wait_for_pictures(
    output: Path, count: int, process: subprocess.Popen[Any], patience_s: float = PATIENCE_S
) -> None:
    """Wait until a run into a folder, with ``rgb`` among its outputs, has mapped a number of images."""
    deadline = time.monotonic() + patience_s
    while len(list(output.glob("rgb/*.jpg"))) < count:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
