# SPDX-License-Identifier: Apache-2.0
"""Exclusive use of an output folder. Only files that runs wrote are ever removed.

The file ``.ttt3r_run`` in the folder is locked while a run writes, and lists the outputs that runs have written.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from ttt3r_ros.errors import OutputError
from ttt3r_ros.io.atomic import require_writable
from ttt3r_ros.io.run_folder import FILES, RUN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MARKER = ".ttt3r_run"
# Written when time goes back, or by a resumed run.
_EARLIER = re.compile(r"trajectory_until_-?\d+\.txt|map_until_-?\d+\.(ply|pcd|pgm|yaml)|bag_\d{6,}")
_UNFINISHED = ".*.part"


class RunFolderError(OutputError):
    """A run must not write into a folder; ``remedies`` names the arguments of `map_recording` that help."""

    def __init__(self, message: str, *remedies: str) -> None:
        super().__init__(message)
        self.remedies = remedies


@contextmanager
def lock_folder(folder: Path) -> Iterator[LockedFolder]:
    """Lock a folder for one run; create it if it does not exist.

    Raises:
        OutputError: it cannot be written.
        RunFolderError: another run is writing into it.
    """
    existed = folder.exists()
    require_writable(folder)
    with (folder / MARKER).open("a+", encoding="utf-8") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"another run is writing into {folder}"
            raise RunFolderError(msg, "output") from error
        except OSError:  # a file system without locks
            pass
        locked = LockedFolder(folder, marker)
        try:
            yield locked
        finally:
            locked.release()
            if not existed:
                with suppress(OSError):  # not empty: something was written
                    folder.rmdir()


class LockedFolder:
    """A folder that is locked for one run."""

    def __init__(self, folder: Path, marker: IO[str]) -> None:
        self.folder = folder
        self._marker = marker
        self._outputs = _listed_outputs(marker)

    @property
    def has_finished_run(self) -> bool:
        """Return whether the last run has ended, interrupted or not. A killed run has not."""
        return (self.folder / RUN).is_file()

    def files(self) -> list[Path]:
        """Return the existing files and folders that runs wrote."""
        if not self._outputs:
            return []
        named = [self.folder / name for name in _file_names(self._outputs)]
        earlier = [path for path in sorted(self.folder.iterdir()) if _EARLIER.fullmatch(path.name)]
        return [path for path in named + earlier if path.exists() or path.is_symlink()]

    def require_free(self, outputs: Iterable[str], source: Path) -> None:
        """Check that outputs replace neither the source nor files that no run wrote.

        Raises:
            RunFolderError: names the conflicting file.
        """
        own = self.files()
        inside = next((path for path in own if source == path or path in source.parents), None)
        if inside is not None:
            msg = f"{source} is the source, and this run would replace {inside}"
            raise RunFolderError(msg, "output")
        foreign = [
            name
            for name in _file_names(outputs)
            if (self.folder / name).exists() and self.folder / name not in own
        ]
        if foreign:
            msg = f"{self.folder} contains {', '.join(foreign[:3])}, not written by a run"
            raise RunFolderError(msg, "output")

    def begin(self, outputs: Iterable[str], *, overwrite: bool) -> None:
        """List the outputs that are going to be written; ``overwrite`` removes those of earlier runs first.

        Raises:
            OutputError: something cannot be written or removed.
        """
        try:
            (self.folder / RUN).unlink(missing_ok=True)  # first: without it no run has ended here
            if overwrite:
                for path in self.files():
                    _remove(path)
                self._outputs = ()
            for path in [*self.folder.glob(_UNFINISHED), *self._unfinished_images()]:
                _remove(path)
            self._write_marker({*self._outputs, *outputs})
        except OSError as error:
            msg = f"cannot remove the run in {self.folder}: {error}"
            raise OutputError(msg) from error

    def release(self) -> None:
        """Remove the marker if no run has written here."""
        if not self._outputs:
            (self.folder / MARKER).unlink(missing_ok=True)

    def _unfinished_images(self) -> list[Path]:
        folders = [self.folder / name for name in _file_names(self._outputs)]
        return [path for folder in folders if folder.is_dir() for path in folder.glob(_UNFINISHED)]

    def _write_marker(self, outputs: Iterable[str]) -> None:
        self._outputs = tuple(sorted(outputs))
        self._marker.seek(0)
        self._marker.truncate()
        json.dump({"outputs": self._outputs}, self._marker)
        self._marker.flush()


def _listed_outputs(marker: IO[str]) -> tuple[str, ...]:
    marker.seek(0)
    try:
        content = json.load(marker)
        return tuple(name for name in content["outputs"] if name in FILES)
    except (ValueError, KeyError, TypeError):
        return ()


def _file_names(outputs: Iterable[str]) -> list[str]:
    """Return the names of files and folders that outputs have in a run folder."""
    return [RUN, *(name for output in outputs for name in FILES[output])]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
