# SPDX-License-Identifier: Apache-2.0
"""Files that belong together appear together or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ttt3r_ros.errors import OutputError
from ttt3r_ros.io.atomic import atomic_write_folder

if TYPE_CHECKING:
    from pathlib import Path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def move_newer(folder: Path) -> None:
    with atomic_write_folder(folder, "all.json") as staging:
        for name in ("one", "all.json"):
            (staging / name).write_text("newer")


def test_files_move_together_and_the_last_one_tells_that_all_are_there(tmp_path):
    folder = tmp_path / "a" / "b"
    with atomic_write_folder(folder, last="all.json") as staging:
        for name in ("all.json", "one", "two"):
            (staging / name).write_text("new")
        assert not (folder / "one").exists()
    assert content(folder) == dict.fromkeys(("all.json", "one", "two"), b"new")

    (folder / "one").unlink()
    (folder / "one").mkdir()
    with pytest.raises(OutputError, match="one is a folder"):
        move_newer(folder)
    assert (folder / "all.json").read_text() == "new"
    assert {path.name for path in folder.iterdir()} == {"all.json", "one", "two"}


def test_an_interrupted_export_leaves_neither_files_nor_a_folder(tmp_path):
    def export() -> None:
        with atomic_write_folder(tmp_path / "out", "all.json") as staging:
            (staging / "one").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export()
    assert not (tmp_path / "out").exists()
