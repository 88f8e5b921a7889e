#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the viewer costs: `points` shows a large map in a browser, `node` times the mapping node with and without it."""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path[:0] = [
    str(Path(__file__).resolve().parents[1]),
    str(Path(__file__).resolve().parents[1] / "test/browser"),
]

from ttt3r_ros.io.room import ProceduralRoom  # noqa: E402
from ttt3r_ros.types import Intrinsics  # noqa: E402
from ttt3r_ros.viewer.panel import PanelSettings  # noqa: E402
from ttt3r_ros.viewer.scene import Scene, Sight  # noqa: E402
from ttt3r_ros.viewer.server import Page, Showing  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WARM_UP, FRAMES, LOOP = 60, 240, 120
PERIOD_S = 0.2
PIXELS = (96, 128)


def main() -> int:
    """Run one of the two; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    points = commands.add_parser("points", help="show so many points in a headless Chromium")
    points.add_argument("--points", type=int, default=2_000_000)
    points.set_defaults(run=show_points)
    node = commands.add_parser(
        "node", help="frame time of the node with and without a viewer that is looked at"
    )
    node.add_argument("--rounds", type=int, default=3)
    node.set_defaults(run=time_node)
    arguments = parser.parse_args()
    arguments.run(arguments)
    return 0


# --- many points ------------------------------------------------------------------------------------


def show_points(arguments: argparse.Namespace) -> None:
    scene, seconds = _filled(arguments.points)
    print(
        f"scene: {len(scene.points):,} points of {len(scene.way)} frames, {1e3 * seconds:.1f} ms a frame to add"
    )
    page = Page("127.0.0.1", 0, PanelSettings(frames=0))
    show = lambda: page.show(scene, Showing())  # noqa: E731
    page.panel.most.value = page.panel.most.max
    with _browser(page.url) as tab:
        _report("all points", page, tab, scene, show)
        _report("nothing new", page, tab, scene, show)
        page.panel.confidence.value = "3"
        _report("confidence up", page, tab, scene, show)
        page.panel.confidence.value = "1"
        _report("confidence back", page, tab, scene, show)
        page.panel.point_size.value = 0.05
        _report("point size", page, tab, scene, show)
        _add(scene, len(scene.way), np.random.default_rng(1))
        _report("one frame more", page, tab, scene, show)
        print(f"browser: {tab.page.evaluate(_FRAMES_PER_SECOND):.1f} frames/s, drawn by the processor")
    page.close()


_FRAMES_PER_SECOND = """() => new Promise(done => {
  let count = 0; const start = performance.now();
  const next = () => { count += 1; const spent = performance.now() - start;
    if (spent > 5000) done(1000 * count / spent); else requestAnimationFrame(next); };
  requestAnimationFrame(next); })"""


def _filled(points: int) -> tuple[Scene, float]:
    """Return a scene of so many points, all from different places, and the time that a frame took [s]."""
    scene, rng, index = Scene(0.02, capacity=2 * points), np.random.default_rng(0), 0
    started = time.perf_counter()
    while len(scene.points) < points:
        _add(scene, index, rng)
        index += 1
    return scene, (time.perf_counter() - started) / index


def _add(scene: Scene, index: int, rng: np.random.Generator) -> None:
    height, width = PIXELS
    scene.follow(np.array([[*rng.uniform(-20, 20, 3), 0, 0, 0, 1.0]]), index)
    depth = rng.uniform(1, 6, (height, width)).astype(np.float32)
    confidence = (1 + rng.exponential(3, (height, width))).astype(np.float32)
    rgb = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    camera = Intrinsics(100.0, 100.0, width / 2, height / 2, width, height)
    scene.add(Sight.of_depth(rgb, depth, confidence, camera), index, 0)


def _report(what: str, page: Page, tab: Any, scene: Scene, show: Callable[[], bool]) -> None:
    """Show until all is sent and has arrived; print what that took."""
    received, started, spent, pictures, complete = tab.received_bytes, time.perf_counter(), [], 0, False
    while not complete:
        began = time.perf_counter()
        complete = show()
        spent.append(time.perf_counter() - began)
        pictures += 1
        tab.page.wait_for_timeout(max(0.0, 1e3 * (PERIOD_S - spent[-1])))
    sent_s = time.perf_counter() - started
    tab.settle()
    arrived = tab.received_bytes - received
    drawn = scene.count(page.panel.choice())
    print(
        f"{what}: {drawn:,} points drawn, {arrived / 1e6:.2f} MB in {pictures} pictures, {sent_s:.2f} s at"
        f" {1 / PERIOD_S:.0f} pictures/s; work for a picture: median {1e3 * np.median(spent):.1f} ms,"
        f" worst {1e3 * max(spent):.1f} ms"
    )


@contextmanager
def _browser(url: str) -> Iterator[Any]:
    from conftest import CHROMIUM, FLAGS, Tab
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        tab = Tab(browser.new_page())
        tab.open(url)
        tab.settle()
        yield tab
        browser.close()


# --- the node ---------------------------------------------------------------------------------------


def time_node(arguments: argparse.Namespace) -> None:
    import rclpy

    from ttt3r_ros.ros.middleware import isolate, use_large_image_profile

    isolate()
    use_large_image_profile()
    rclpy.init(args=[])
    rounds: dict[bool, list[np.ndarray]] = {False: [], True: []}
    for _ in range(arguments.rounds):
        for viewer, measured in rounds.items():
            times = _frame_times_ms(viewer=viewer)
            measured.append(times)
            median, p95 = np.percentile(times, [50, 95])
            print(
                f"viewer {'on ' if viewer else 'off'}: median {median:.1f} ms, p95 {p95:.1f} ms",
                flush=True,
            )
    rclpy.utilities.try_shutdown()
    for viewer, runs in rounds.items():
        medians = [float(np.median(times)) for times in runs]
        print(
            f"viewer {'on' if viewer else 'off'}: median of all frames {np.median(np.concatenate(runs)):.1f} ms,"
            f" rounds {min(medians):.1f} to {max(medians):.1f} ms"
        )


def _frame_times_ms(*, viewer: bool) -> np.ndarray:
    """Return the time from sending an image to receiving its pose [ms], one image at a time."""
    from dataclasses import replace

    from ttt3r_ros.ros.node_process import mapping_node
    from ttt3r_ros.ros.player import Player

    parameters = {
        "viewer": viewer,
        "viewer_port": _PORT,
        "diagnostics_period": 0.5,
        "image_qos": "reliable",
    }
    images, times = list(ProceduralRoom(frames=LOOP).frames()), []
    with (
        tempfile.TemporaryDirectory() as folder,
        mapping_node(parameters, Path(folder) / "node.log") as node,
    ):
        player = Player()
        player.wait_until_ready(node)
        with _onlooker() if viewer else _nobody() as bytes_seen:
            for index in range(WARM_UP + FRAMES):
                frame = replace(images[index % LOOP], stamp_ns=(index + 1) * 10**7)
                started = time.perf_counter()
                player.publish(frame)
                player.settle(node, lambda index=index: player.answered(index + 1))  # type: ignore[misc]
                times.append(1e3 * (time.perf_counter() - started))
            if viewer:
                print(
                    f"  the onlooker received {sum(bytes_seen) / 1e6:.1f} MB; {player.facts['viewer_dropped']} left out"
                )
        player.close()
    return np.array(times[WARM_UP:])


_PORT = 8099


@contextmanager
def _nobody() -> Iterator[list[int]]:
    yield []


@contextmanager
def _onlooker() -> Iterator[list[int]]:
    """Receive what a browser would, without drawing it: that is another machine's work."""
    import viser
    from websockets.sync.client import connect

    seen: list[int] = []
    protocol: Any = f"viser-v{viser.__version__}"
    with connect(f"ws://127.0.0.1:{_PORT}", subprotocols=[protocol], max_size=None) as socket:

        def receive() -> None:
            seen.extend(len(message) for message in socket)

        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        yield seen


if __name__ == "__main__":
    sys.exit(main())
