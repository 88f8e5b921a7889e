# SPDX-License-Identifier: Apache-2.0
"""State files: a state dict in one NPZ file without pickled objects."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.atomic import atomic_write
from ttt3r_ros.state_dict import flatten, unflatten

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ttt3r_ros.state_dict import StateDict

VERSION = 2  # of the whole state; a change of any `state_dict` needs a new one
# NumPy and zipfile raise all of these for damaged files; RuntimeError for unknown compression or encryption.
_DAMAGES = (OSError, ValueError, EOFError, AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error)


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state dict.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as file:
        np.savez(file, version=np.array(VERSION), **flatten(state))  # type: ignore[arg-type]


def read_state(path: Path) -> StateDict:
    """Read the state dict that `write_state` wrote; scalars are arrays without dimensions.

    Raises:
        SourceError: the file does not exist, is damaged, or has another version.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        msg = f"{path} does not exist; save_state writes it"
        raise SourceError(msg) from error
    except _DAMAGES as error:
        msg = f"{path} is not a state file or is damaged: {error}"
        raise SourceError(msg) from error
    found = arrays.pop("version", np.array(0))
    if found.shape != () or found.dtype.kind != "i" or int(found) != VERSION:
        msg = f"{path} has version {found}; expected {VERSION}"
        raise SourceError(msg)
    return unflatten(arrays)
