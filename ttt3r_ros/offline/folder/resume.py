# SPDX-License-Identifier: Apache-2.0
"""An interrupted run in ``state.npz``: the checkpoint that the node also loads, and what only a resumed run needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.state_file import read_state, write_state
from ttt3r_ros.state_dict import StateReader

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.offline.folder.fingerprint import RunFingerprint
    from ttt3r_ros.offline.mapper import RecordingMapper
    from ttt3r_ros.state_dict import StateDict


@dataclass(frozen=True)
class SavedRun:
    """A run up to the last mapped frame."""

    state: StateDict  # of its `RecordingMapper`
    outputs: tuple[str, ...]
    fingerprint: dict[str, Any]
    path: Path


def save_run(path: Path, fingerprint: RunFingerprint, mapping: RecordingMapper) -> None:
    """Write the current state of a run.

    Raises:
        OutputError: the file cannot be written, or nothing was mapped.
    """
    values = {
        "source": fingerprint.source,
        "options": fingerprint.options,
        "settings": fingerprint.settings,
        "outputs": list(fingerprint.outputs),
    }
    text = json.dumps(values, sort_keys=True).encode("utf-8")
    run = mapping.state_dict()
    reconstructor = run.pop("reconstructor")
    run["fingerprint"] = np.frombuffer(text, np.uint8)
    write_state(path, {"reconstructor": reconstructor, "run": run})


def read_run(path: Path) -> SavedRun:
    """Read what `save_run` wrote.

    Raises:
        SourceError: the file is missing, damaged, or was written by the node.
    """
    state = read_state(path)
    if "run" not in state:
        msg = f"{path} was saved by the node; only the state of a run can be resumed"
        raise SourceError(msg)
    with StateReader(state, "state") as read:
        run, reconstructor = read.group("run"), read.group("reconstructor")
    try:
        text = StateReader(run, "run").array("fingerprint", np.uint8, (None,)).tobytes()
        fingerprint = json.loads(text)
        outputs = tuple(fingerprint["outputs"])
        groups = [fingerprint["options"], fingerprint["settings"]]
        texts = [fingerprint["source"], *outputs]
        if not all(isinstance(g, dict) for g in groups) or not all(isinstance(t, str) for t in texts):
            raise TypeError(fingerprint)  # noqa: TRY301 - reported below as damage
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        msg = f"{path} is damaged: {error!r}"
        raise SourceError(msg) from error
    del run["fingerprint"]
    return SavedRun({**run, "reconstructor": reconstructor}, outputs, fingerprint, path)
