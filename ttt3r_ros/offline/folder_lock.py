# SPDX-License-Identifier: Apache-2.0
"""A folder as the property of a run: one at a time writes there, and only what runs wrote is ever removed.

The file ``.ttt3r_run`` in it is locked while a run writes, and names the outputs that runs have written.
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
# Left when time went back, or by --resume.
_EARLIER = re.compile(r"trajectory_until_-?\d+\.txt|map_until_-?\d+\.(ply|pcd|pgm|yaml)|bag_\d{6,}")
_UNFINISHED = ".*.part"


@contextmanager
def claimed(folder: Path) -> Iterator[RunClaim]:
    """Have a folder for oneself.

    Raises:
        OutputError: it cannot be written, or another run is writing there.
    """
    existed = folder.exists()
    require_writable(folder)
    with (folder / MARKER).open("a+", encoding="utf-8") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"another run is writing into {folder}; choose another --output, or wait for it"
            raise OutputError(msg) from error
        except OSError:  # a file system without locks
            pass
        claim = RunClaim(folder, marker)
        try:
            yield claim
        finally:
            claim.leave()
            if not existed:
                with suppress(OSError):  # it is not empty: something was written
                    folder.rmdir()


class RunClaim:
    """What a run may do in its folder."""

    def __init__(self, folder: Path, marker: IO[str]) -> None:
        self.folder = folder
        self._marker = marker
        self._outputs = _outputs_in(marker)

    @property
    def ended(self) -> bool:
        """Tell whether the last run came to its end, interrupted or not; one that was killed did not."""
        return (self.folder / RUN).is_file()

    def files(self) -> list[Path]:
        """Return what runs wrote."""
        if not self._outputs:
            return []
        named = [self.folder / name for name in _names(self._outputs)]
        earlier = [path for path in sorted(self.folder.iterdir()) if _EARLIER.fullmatch(path.name)]
        return [path for path in named + earlier if path.exists() or path.is_symlink()]

    def require_room(self, outputs: Iterable[str], source: Path) -> None:
        """Refuse to write over what no run has written, or over the very source.

        Raises:
            OutputError: names what is in the way.
        """
        own = self.files()
        inside = next((path for path in own if source == path or path in source.parents), None)
        if inside is not None:
            msg = f"{source} is the source, and {inside} there is what this run would replace; choose another --output"
            raise OutputError(msg)
        foreign = [
            name
            for name in _names(outputs)
            if (self.folder / name).exists() and self.folder / name not in own
        ]
        if foreign:
            msg = f"{self.folder} holds {', '.join(foreign[:3])}, which no run has written; choose another --output"
            raise OutputError(msg)

    def begin(self, outputs: Iterable[str], *, afresh: bool) -> None:
        """Say what is going to be written; ``afresh``: remove what earlier runs wrote.

        Raises:
            OutputError: something cannot be written or removed.
        """
        try:
            (self.folder / RUN).unlink(missing_ok=True)  # first: without it no run has ended here
            if afresh:
                for path in self.files():
                    _remove(path)
                self._outputs = ()
            for path in [*self.folder.glob(_UNFINISHED), *self._unfinished_pictures()]:
                _remove(path)
            self._note({*self._outputs, *outputs})
        except OSError as error:
            msg = f"cannot remove the run in {self.folder}: {error}"
            raise OutputError(msg) from error

    def leave(self) -> None:
        """Give the folder back; one in which nothing was begun is left as it was."""
        if not self._outputs:
            (self.folder / MARKER).unlink(missing_ok=True)

    def _unfinished_pictures(self) -> list[Path]:
        folders = [self.folder / name for name in _names(self._outputs)]
        return [path for folder in folders if folder.is_dir() for path in folder.glob(_UNFINISHED)]

    def _note(self, outputs: Iterable[str]) -> None:
        self._outputs = tuple(sorted(outputs))
        self._marker.seek(0)
        self._marker.truncate()
        json.dump({"outputs": self._outputs}, self._marker)
        self._marker.flush()


def _outputs_in(marker: IO[str]) -> tuple[str, ...]:
    marker.seek(0)
    try:
        content = json.load(marker)
        return tuple(name for name in content["outputs"] if name in FILES)
    except (ValueError, KeyError, TypeError):
        return ()


def _names(outputs: Iterable[str]) -> list[str]:
    """Return the names in the folder that outputs have."""
    return [RUN, *(name for output in outputs for name in FILES[output])]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
