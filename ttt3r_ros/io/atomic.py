# SPDX-License-Identifier: Apache-2.0
"""Several files that belong together: they appear under their names when all are complete, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ttt3r_ros.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def complete_files(folder: Path, last: str) -> Iterator[Path]:
    """Give a place for files that move to ``folder`` when the block ends well, and vanish otherwise.

    The file ``last`` tells that all are there: an older one goes before the first file moves, the new one comes
    after the others. Files of other names in ``folder`` stay.

    Raises:
        OutputError: folder or a file cannot be written; the message names the folder and the reason.
    """
    existed = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=folder))
        try:
            yield staging
            _move(staging, folder, last)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        msg = f"cannot write {folder}: {error.strerror or error}"
        raise OutputError(msg) from error
    finally:
        if not existed:
            with suppress(OSError):  # it is not empty: all went well
                folder.rmdir()


def _move(staging: Path, folder: Path, last: str) -> None:
    files = sorted(staging.iterdir(), key=lambda file: (file.name == last, file.name))
    for file in files:
        if (folder / file.name).is_dir():
            msg = f"{file.name} is a folder there"
            raise OSError(msg)
    (folder / last).unlink(missing_ok=True)
    for file in files:
        file.replace(folder / file.name)
