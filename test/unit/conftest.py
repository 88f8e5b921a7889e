# SPDX-License-Identifier: Apache-2.0
"""Property-based tests that behave the same on every machine, however busy it is; a folder with little room."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from recorded import no_room

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

settings.register_profile("ttt3r_ros", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("ttt3r_ros")


@pytest.fixture(params=["limit", "disk"])
def little_room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Return a folder in which 256 KiB can be written."""
    folder = tmp_path / "little"
    folder.mkdir()
    with no_room(folder, request.param) as works:
        if not works:
            pytest.skip("no file system can be mounted here")
        yield folder


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """A run may set torch's threads for the whole process, and another number gives other last bits."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if torch:
        torch.set_num_threads(before)


@pytest.fixture
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clouds be compared by few of their points: where the figures go matters, and not how good they are."""
    from ttt3r_ros.evaluation.metrics import surfaces

    for name in ("_MOST_MEASURED", "_MOST_REGISTERED"):
        monkeypatch.setattr(surfaces, name, 2_000)
