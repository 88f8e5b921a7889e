# SPDX-License-Identifier: Apache-2.0
"""Atomic writes: a file, or several together, appear under their names only when they are complete."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ttt3r_ros.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces ``path`` if the block ends without an error, and is deleted otherwise.

    Raises:
        OutputError: the folder or the file cannot be written; the message names path and reason.
    """
    with atomic_write_together(path) as (file,):
        yield file


@contextmanager
def atomic_write_together(*paths: Path) -> Iterator[tuple[IO[bytes], ...]]:
    """Open temporary files that replace ``paths`` together if the block ends without an error.

    Raises:
        OutputError: a folder or a file cannot be written; the former files are unchanged.
    """
    temporary = {path: path.parent / f".{path.name}.{secrets.token_hex(4)}.part" for path in paths}
    try:
        with ExitStack() as stack:
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
            files = tuple(stack.enter_context(part.open("xb")) for part in temporary.values())
            modes = [stat.S_IMODE(os.fstat(file.fileno()).st_mode) for file in files]
            yield files
        # The block may have replaced the temporary files by files of another mode.
        for part, mode in zip(temporary.values(), modes, strict=True):
            part.chmod(mode)
        _replace_together(temporary)
    except OSError as error:
        names = " and ".join(str(path) for path in paths)
        msg = f"cannot write {names}: {error.strerror or error}"
        raise OutputError(msg) from error
    finally:
        for part in temporary.values():
            with suppress(OSError):
                part.unlink()


def _replace_together(temporary: dict[Path, Path]) -> None:
    """Rename files to their final names; on an error restore the former files."""
    path, *later = temporary
    if not later:
        temporary[path].replace(path)
        return
    backup = temporary[path].with_suffix(".before")
    # A folder is not moved away: a file must not take its place.
    existed = path.exists() and not path.is_dir()
    if existed:
        path.replace(backup)
    try:
        temporary[path].replace(path)
        _replace_together({other: temporary[other] for other in later})
    except BaseException:
        if existed:
            backup.replace(path)
        elif not path.is_dir():
            path.unlink(missing_ok=True)
        raise
    backup.unlink(missing_ok=True)


@contextmanager
def atomic_write_folder(folder: Path, last: str) -> Iterator[Path]:
    """Yield a temporary folder whose files move to ``folder`` if the block ends without an error.

    The file ``last`` marks the folder as complete: its old version is deleted first, the new one moved last. Files of
    other names in ``folder`` stay.

    Raises:
        OutputError: the folder or a file cannot be written; the message names folder and reason.
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
            with suppress(OSError):  # not empty if the files were moved
                folder.rmdir()


def _move(staging: Path, folder: Path, last: str) -> None:
    files = sorted(staging.iterdir(), key=lambda file: (file.name == last, file.name))
    for file in files:
        if (folder / file.name).is_dir():
            msg = f"{file.name} is a folder"
            raise OSError(msg)
    (folder / last).unlink(missing_ok=True)
    for file in files:
        file.replace(folder / file.name)


def require_writable(folder: Path) -> None:
    """Create a folder and check that files can be written in it.

    Raises:
        OutputError: the folder cannot be written.
    """
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"a")
    except OSError as error:
        msg = f"{folder} cannot be written: {error.strerror or error}"
        raise OutputError(msg) from error
    finally:
        with suppress(OSError):
            probe.unlink()
