# SPDX-License-Identifier: Apache-2.0
"""The page of a running reconstruction in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import HEIGHT, WIDTH, FakeBackend, frame

from ttt3r_ros.config import Config
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.viewer.live import open_live

pytest.importorskip("viser")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Tab

    from ttt3r_ros.viewer.live import LiveViewer


@pytest.fixture
def live() -> Iterator[LiveViewer]:
    live = open_live("127.0.0.1", 0, voxel_size=0.05, max_range=10.0, min_confidence=1.5)
    yield live
    live.close()


def test_the_map_grows_with_each_frame(live: LiveViewer, tab: Tab):
    reconstructor = Reconstructor(FakeBackend(), Config(level_source="none"))
    tab.open(live.page.url)
    text = tab.page.locator("strong").first
    for index in range(3):
        live.show(reconstructor.step(frame(0, (index + 1) * 10**9)), reconstructor)
        expected = f"{(index + 1) * HEIGHT * WIDTH}"
        tab.wait_until(lambda expected=expected: text.inner_text() == expected, f"{expected} points")
    assert np.allclose(live.page.current_camera.position, (2.0, 0.0, 0.0))
    assert tab.errors == []
    assert tab.hosts == {"127.0.0.1"}


def test_frames_that_arrive_too_fast_are_dropped_and_counted(live: LiveViewer):
    reconstructor = Reconstructor(FakeBackend(), Config(level_source="none"))
    for index in range(50):
        live.show(reconstructor.step(frame(0, (index + 1) * 10**9)), reconstructor)
    assert live.slot.dropped >= 45
    assert live.failure is None


def test_a_reset_clears_the_page_without_a_new_frame(live: LiveViewer, tab: Tab):
    reconstructor = Reconstructor(FakeBackend(), Config(level_source="none"))
    tab.open(live.page.url)
    text = tab.page.locator("strong").first
    live.show(reconstructor.step(frame(0, 10**9)), reconstructor)
    tab.wait_until(lambda: text.inner_text() == f"{HEIGHT * WIDTH}", "the points")
    reconstructor.reset()
    tab.wait_until(lambda: text.inner_text() == "0", "no points")
    tab.wait_until(lambda: live.page.current_camera is None, "no camera")
    live.show(reconstructor.step(frame(0, 2 * 10**9)), reconstructor)
    tab.wait_until(lambda: text.inner_text() == f"{HEIGHT * WIDTH}", "the new points")
    assert live.failure is None


def test_a_failed_viewer_is_reported_on_the_page(live: LiveViewer, tab: Tab, monkeypatch):
    tab.open(live.page.url)
    tab.wait_until(tab.page.get_by_text("of 0 points").count, "the page")
    monkeypatch.setattr(live.page, "show", lambda *_: 1 // 0)
    tab.wait_until(tab.page.get_by_text("The viewer stopped:").count, "the error")
    assert isinstance(live.failure, ZeroDivisionError)
