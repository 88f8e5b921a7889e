# SPDX-License-Identifier: Apache-2.0
"""Run a mapping node in its own process, for demo, benchmarks and tests."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttt3r_ros.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_MODULE = "ttt3r_ros.ros.main"
_STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class NodeProcess:
    """A running node and its log file."""

    process: subprocess.Popen[bytes]
    log: Path

    def require_alive(self) -> None:
        """Raise `SourceError` with the last line of the log if the node has exited."""
        if self.process.poll() is not None:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            reason = lines[-1] if lines else "no output"
            msg = (
                f"mapping_node exited with status {self.process.returncode}: {reason} (log: {self.log})"
            )
            raise SourceError(msg)

    def stop(self) -> None:
        """Send SIGINT to the node; kill it after a timeout."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def mapping_node(parameters: Mapping[str, object], log: Path) -> Iterator[NodeProcess]:
    """Run a node with these parameters during the block; empty values mean the default."""
    values = {name: _to_plain(value) for name, value in parameters.items() if value != ""}
    file = log.with_suffix(".params.yaml")
    # JSON is YAML, and unlike on the command line no value can be parsed as syntax.
    file.write_text(json.dumps({"/**": {"ros__parameters": values}}, indent=1), encoding="utf-8")
    command = [sys.executable, "-m", _MODULE, "--ros-args", "--params-file", str(file)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603 - a module of this package
        node = NodeProcess(process, log)
        try:
            yield node
        finally:
            node.stop()


def _to_plain(value: object) -> object:
    return value if isinstance(value, bool | int | float) else str(value)
