# SPDX-License-Identifier: Apache-2.0
"""An interrupted run in ``state.npz``: what the node's load_state reads, too, and what only the same run needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import ConfigError, SourceError
from ttt3r_ros.io.frame_records import FrameRecord, record_of, values_of
from ttt3r_ros.io.state_file import read_state, write_state
from ttt3r_ros.pipeline.checkpoint import restore_into, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from ttt3r_ros.offline.mapper import RecordingMapper

_KEY = "run"
_MAY_DIFFER = ("device", "threads")  # a batch that is resumed may find another one free


@dataclass(frozen=True)
class Identity:
    """What must be the same for a run to be gone on with."""

    source: str
    options: dict[str, Any]  # what of the source is read
    settings: dict[str, Any]
    outputs: tuple[str, ...]
    limit: int = 0  # frames, 0: all; a run may go on beyond that of the one before

    def is_done_by(self, meta: dict[str, Any]) -> bool:
        """Tell whether the run that left this ``run.json`` has done all of it."""
        if (
            meta.get("interrupted", True)
            or meta.get("problems", True)
            or meta.get("limit") != self.limit
        ):
            return False
        same = next(self._differences(meta), None) is None
        return same and set(self.outputs) <= set(meta.get("outputs") or ())

    def require_same(self, saved: dict[str, Any]) -> None:
        """Refuse to go on with another run.

        Raises:
            ConfigError: names what differs.
        """
        outputs = ("outputs", list(self.outputs), saved["outputs"])
        for name, own, theirs in (*self._differences(saved), outputs):
            if own != theirs:
                msg = f"--resume: {name} is {own!r}, the interrupted run had {theirs!r}"
                raise ConfigError(msg)

    def _differences(self, other: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        """Return what must be the same and is not: its name, what it is here, and there."""
        own = {"source": self.source, **self.options, **self.settings}
        theirs = {
            "source": other.get("source"),
            **(other.get("options") or {}),
            **(other.get("settings") or {}),
        }
        for name, value in own.items():
            if name not in _MAY_DIFFER and value != theirs.get(name):
                yield name, value, theirs.get(name)


@dataclass(frozen=True)
class SavedRun:
    """A run as far as it came."""

    arrays: dict[str, NDArray[Any]]
    memory: dict[str, Any]
    records: list[FrameRecord]
    outputs: tuple[str, ...]
    identity: dict[str, Any]


def save_run(path: Path, identity: Identity, mapping: RecordingMapper) -> None:
    """Write a run as it stands.

    Raises:
        OutputError: the file cannot be written, or nothing was mapped yet.
    """
    arrays = snapshot_of(mapping.reconstructor)
    run = {
        "source": identity.source,
        "options": identity.options,
        "settings": identity.settings,
        "outputs": list(identity.outputs),
        "memory": mapping.memory(),
        "records": [values_of(record) for record in mapping.records],
    }
    arrays[_KEY] = np.frombuffer(json.dumps(run, sort_keys=True).encode("utf-8"), np.uint8)
    write_state(path, arrays)


def read_run(path: Path) -> SavedRun:
    """Read back what `save_run` wrote.

    Raises:
        SourceError: there is no such file, it is damaged, or of the node.
    """
    arrays = read_state(path)
    if _KEY not in arrays:
        msg = f"{path} was saved by the node; only a run of its own can be resumed"
        raise SourceError(msg)
    try:
        run = json.loads(arrays.pop(_KEY).tobytes())
        records = [record_of(values) for values in run["records"]]
        return SavedRun(arrays, run["memory"], records, tuple(run["outputs"]), run)
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path} is damaged: {error!r}"
        raise SourceError(msg) from error


def restore_run(saved: SavedRun, mapping: RecordingMapper) -> None:
    """Let a mapping go on from a run.

    Raises:
        SourceError: it is of other weights, or damaged.
    """
    restore_into(mapping.reconstructor, saved.arrays)
    mapping.remember(saved.memory, saved.records)
