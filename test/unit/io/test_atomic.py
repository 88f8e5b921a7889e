# SPDX-License-Identifier: Apache-2.0
"""Files that are written completely or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ttt3r_ros.errors import OutputError
from ttt3r_ros.io.atomic import atomic_write, atomic_write_folder, atomic_write_together

if TYPE_CHECKING:
    from pathlib import Path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_one(path: Path) -> None:
    with atomic_write(path) as file:
        file.write(b"new")


def test_missing_folders_are_created(tmp_path: Path) -> None:
    write_one(tmp_path / "a" / "b" / "map.ply")
    assert (tmp_path / "a" / "b" / "map.ply").read_bytes() == b"new"


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file, not a folder")
    path = tmp_path / "occupied" / "map.ply"
    with pytest.raises(OutputError, match=rf"cannot write {path}: .*(exists|directory)"):
        write_one(path)


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "map.ply").mkdir()
    with pytest.raises(OutputError, match=rf"cannot write {tmp_path / 'map.ply'}: "):
        write_one(tmp_path / "map.ply")
    assert [path.name for path in tmp_path.iterdir()] == ["map.ply"]


@pytest.mark.parametrize(
    ("error", "seen"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError, OutputError)]
)
def test_an_error_while_writing_keeps_the_former_file(
    tmp_path: Path, error: type[BaseException], seen: type[BaseException]
) -> None:
    path = tmp_path / "map.ply"
    path.write_bytes(b"the last good one")

    def write() -> None:
        with atomic_write(path) as file:
            file.write(b"half of")
            raise error

    with pytest.raises(seen):
        write()
    assert path.read_bytes() == b"the last good one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_file_has_its_name_and_mode_only_when_complete(tmp_path: Path, umask: int, mode: int) -> None:
    path = tmp_path / "map.ply"
    before = os.umask(umask)
    try:
        with atomic_write(path) as file:
            file.write(b"content")
            assert not path.exists()
    finally:
        os.umask(before)
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_in_the_second_file_keeps_the_first_one(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "a").write_bytes(b"the last good one")

    def write() -> None:
        with atomic_write_together(tmp_path / "a", tmp_path / "b") as (first, second):
            first.write(b"whole")
            second.write(b"half of")
            raise error

    with pytest.raises((OutputError, KeyboardInterrupt)):
        write()
    assert content(tmp_path) == {"a": b"the last good one"}


def move_newer(folder: Path) -> None:
    with atomic_write_folder(folder, "all.json") as staging:
        for name in ("one", "all.json"):
            (staging / name).write_text("newer")


def test_files_of_a_folder_move_together_or_not_at_all(tmp_path):
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


def test_an_interrupt_leaves_no_files_and_no_folder(tmp_path):
    def export() -> None:
        with atomic_write_folder(tmp_path / "out", "all.json") as staging:
            (staging / "one").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export()
    assert not (tmp_path / "out").exists()
