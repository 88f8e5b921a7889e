# SPDX-License-Identifier: Apache-2.0
"""A headless browser that renders in software."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import cv2
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SIZE = {"width": 960, "height": 600}  # small, because rendering is slow
LIMIT_S = 60.0
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


class Tab:
    """A page with its requested hosts, received bytes and errors."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.hosts: set[str | None] = set()
        self.received_bytes = 0
        page.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._record_host(request.url))
        page.on("websocket", self._on_websocket)

    def open(self, url: str) -> None:
        self.page.goto(url)

    def screenshot(self) -> np.ndarray:
        """Return the rendered page (h, w, 3)."""
        encoded = np.frombuffer(self.page.screenshot(), np.uint8)
        return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]

    def pixels_of(self, rgb: tuple[int, int, int], tolerance: int = 40) -> int:
        """Return the number of pixels with approximately this color."""
        difference = np.abs(self.screenshot().astype(int) - rgb).max(axis=-1)
        return int(np.count_nonzero(difference <= tolerance))

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, (
                f"{what}: not within {LIMIT_S:.0f} s; errors of the page: {self.errors}"
            )
            self.page.wait_for_timeout(100)

    def settle(self) -> None:
        """Wait until nothing was received for half a second."""
        previous = -1
        while previous != self.received_bytes:
            previous = self.received_bytes
            self.page.wait_for_timeout(500)

    def _record_host(self, url: str) -> None:
        if urlparse(url).scheme not in ("data", "blob"):
            self.hosts.add(urlparse(url).hostname)

    def _on_websocket(self, socket: object) -> None:
        self._record_host(socket.url)  # type: ignore[attr-defined]
        socket.on("framereceived", self._count_bytes)  # type: ignore[attr-defined]

    def _count_bytes(self, payload: str | bytes) -> None:
        self.received_bytes += len(payload)


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    context = browser.new_context(viewport=SIZE, accept_downloads=True)
    yield Tab(context.new_page())
    context.close()
