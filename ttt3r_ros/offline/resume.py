# SPDX-License-Identifier: Apache-2.0
"""An interrupted run in ``state.npz``: the checkpoint that the node also loads, and what only a resumed run needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.frame_records import FrameRecord, parse_record, record_values
from ttt3r_ros.io.state_file import read_state, write_state
from ttt3r_ros.pipeline.checkpoint import restore_into, snapshot_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ttt3r_ros.offline.fingerprint import RunFingerprint
    from ttt3r_ros.offline.mapper import RecordingMapper

_KEY = "run"


@dataclass(frozen=True)
class SavedRun:
    """A run up to the last mapped frame."""

    arrays: dict[str, NDArray[Any]]
    memory: dict[str, Any]
    records: list[FrameRecord]
    outputs: tuple[str, ...]
    fingerprint: dict[str, Any]


def save_run(path: Path, fingerprint: RunFingerprint, mapping: RecordingMapper) -> None:
    """Write the current state of a run.

    Raises:
        OutputError: the file cannot be written, or nothing was mapped.
    """
    arrays = snapshot_of(mapping.reconstructor)
    run = {
        "source": fingerprint.source,
        "options": fingerprint.options,
        "settings": fingerprint.settings,
        "outputs": list(fingerprint.outputs),
        "memory": mapping.memory(),
        "records": [record_values(record) for record in mapping.records],
    }
    arrays[_KEY] = np.frombuffer(json.dumps(run, sort_keys=True).encode("utf-8"), np.uint8)
    write_state(path, arrays)


def read_run(path: Path) -> SavedRun:
    """Read what `save_run` wrote.

    Raises:
        SourceError: the file is missing, damaged, or was written by the node.
    """
    arrays = read_state(path)
    if _KEY not in arrays:
        msg = f"{path} was saved by the node; only the state of a run can be resumed"
        raise SourceError(msg)
    try:
        run = json.loads(arrays.pop(_KEY).tobytes())
        records = [parse_record(values) for values in run["records"]]
        return SavedRun(arrays, run["memory"], records, tuple(run["outputs"]), run)
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path} is damaged: {error!r}"
        raise SourceError(msg) from error


def restore_run(saved: SavedRun, mapping: RecordingMapper) -> None:
    """Restore a mapping from a saved run.

    Raises:
        SourceError: it was saved with other weights, or is damaged.
    """
    restore_into(mapping.reconstructor, saved.arrays)
    mapping.remember(saved.memory, saved.records)
