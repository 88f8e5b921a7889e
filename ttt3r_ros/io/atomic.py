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
    """Open a file for writing that replaces ``path`` when the block ends well, and vanishes otherwise.

    Raises:
        OutputError: folder or file cannot be written; the message names the path and the reason.
    """
    with atomic_write_together(path) as (file,):
        yield file


@contextmanager
def atomic_write_together(*paths: Path) -> Iterator[tuple[IO[bytes], ...]]:
    """Open files for writing that replace ``paths`` together when the block ends well, and all vanish otherwise.

    Raises:
        OutputError: a folder or a file cannot be written; what was under the names is still there.
    """
    temporary = {path: path.parent / f".{path.name}.{secrets.token_hex(4)}.part" for path in paths}
    try:
        with ExitStack() as stack:
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
            files = tuple(stack.enter_context(part.open("xb")) for part in temporary.values())
            modes = [stat.S_IMODE(os.fstat(file.fileno()).st_mode) for file in files]
            yield files
        # Whoever wrote to the names may have put files of another mode there.
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
    """Give files their final names; if one of them cannot have it, let every name have what it had before."""
    path, *later = temporary
    if not later:
        temporary[path].replace(path)
        return
    before = temporary[path].with_suffix(".before")
    # Not by renaming a folder away: a file must not take its name.
    existed = path.exists() and not path.is_dir()
    if existed:
        path.replace(before)
    try:
        temporary[path].replace(path)
        _replace_together({other: temporary[other] for other in later})
    except BaseException:
        if existed:
            before.replace(path)
        elif not path.is_dir():
            path.unlink(missing_ok=True)
        raise
    before.unlink(missing_ok=True)


@contextmanager
def atomic_write_folder(folder: Path, last: str) -> Iterator[Path]:
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


def require_writable(folder: Path) -> None:
    """Make a folder, and see that files can be written there.

    Raises:
        OutputError: they cannot.
    """
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"a")
    except OSError as error:
        msg = f"--output {folder} cannot be written: {error.strerror or error}"
        raise OutputError(msg) from error
    finally:
        with suppress(OSError):
            probe.unlink()
