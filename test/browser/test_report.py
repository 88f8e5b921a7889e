# SPDX-License-Identifier: Apache-2.0
"""The report of a run, opened as a file in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import pytest

from ttt3r_ros import map_recording
from ttt3r_ros.synthetic.room import ProceduralRoom

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Tab

FRAMES = 6


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "images").mkdir()
    for index, frame in enumerate(ProceduralRoom(frames=FRAMES).frames()):
        cv2.imwrite(str(folder / "images" / f"{index:04d}.png"), frame.rgb[..., ::-1])
    assert map_recording(folder / "images", folder / "out").is_ok
    return folder / "out" / "report.html"


def test_the_report_requests_no_other_files_or_hosts(tab: Tab, report: Path):
    tab.open(report.as_uri())
    assert tab.errors == []
    assert tab.hosts in ({None}, {""})  # only the file itself


def test_every_image_of_the_report_is_drawn(tab: Tab, report: Path):
    tab.open(report.as_uri())
    images = tab.page.locator("img")
    assert images.count() + tab.page.locator("svg").count() >= 2
    widths = [
        images.nth(index).evaluate("image => image.naturalWidth") for index in range(images.count())
    ]
    assert all(widths)
