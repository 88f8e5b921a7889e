# SPDX-License-Identifier: Apache-2.0
"""A session in one file: named arrays, nothing that could be executed."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.atomic import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = 1


def write_state(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays under their names.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as file:
        np.savez(file, format=np.array(FORMAT), **arrays)  # type: ignore[arg-type]


def read_state(path: Path) -> dict[str, NDArray[Any]]:
    """Read back what `write_state` wrote.

    Raises:
        SourceError: there is no such file, or it is no such file, or a damaged one.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        msg = f"there is no {path}; save_state writes it"
        raise SourceError(msg) from error
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        msg = f"{path} is no saved state, or a damaged one: {error}"
        raise SourceError(msg) from error
    found = arrays.pop("format", np.array(0))
    if found.shape != () or int(found) != FORMAT:
        msg = f"{path} has format {found}; expected {FORMAT}"
        raise SourceError(msg)
    return arrays
