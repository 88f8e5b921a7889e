#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cost of the viewer: `points` shows a large map in a browser, `node` times the mapping node with and without it."""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path[:0] = [
    str(Path(__file__).resolve().parents[1]),
    str(Path(__file__).resolve().parents[1] / "test/browser"),
]

from ttt3r_ros.synthetic.room import ProceduralRoom  # noqa: E402
from ttt3r_ros.types import Intrinsics  # noqa: E402
from ttt3r_ros.viewer.panel import PanelSettings  # noqa: E402
from ttt3r_ros.viewer.scene import RgbdImage, Scene  # noqa: E402
from ttt3r_ros.viewer.server import Page  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

WARM_UP, LOOP = 60, 120
PERIOD_S = 0.2
PIXELS = (96, 128)


def main() -> int:
    """Run one of the two benchmarks; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    points = commands.add_parser("points", help="show a number of points in a headless Chromium")
    points.add_argument("--points", type=int, default=2_000_000)
    points.set_defaults(run=show_points)
    node = commands.add_parser(
        "node",
        help="frame time of the node without viewer, with viewer, and with viewer and browser",
    )
    node.add_argument("--rounds", type=int, default=3)
    node.add_argument("--frames", type=int, default=240, help="timed frames per round")
    node.set_defaults(run=time_node)
    arguments = parser.parse_args()
    arguments.run(arguments)
    return 0


# --- many points ------------------------------------------------------------------------------------


def show_points(arguments: argparse.Namespace) -> None:
    scene, seconds = _fill_scene(arguments.points)
    print(
        f"scene: {len(scene.points):,} points of {len(scene.camera_path)} frames, {1e3 * seconds:.1f} ms per frame"
    )
    page = Page("127.0.0.1", 0, PanelSettings(frames=0))
    show = partial(page.show, scene)
    page.panel.max_points.value = page.panel.max_points.max
    with _browser(page.url) as tab:
        _report("all points", page, tab, scene, show)
        _report("nothing new", page, tab, scene, show)
        page.panel.confidence.value = 3.0
        _report("confidence up", page, tab, scene, show)
        page.panel.confidence.value = 1.0
        _report("confidence back", page, tab, scene, show)
        page.panel.point_size.value = 0.05
        _report("point size", page, tab, scene, show)
        _add(scene, len(scene.camera_path), np.random.default_rng(1))
        _report("one more frame", page, tab, scene, show)
        print(f"browser: {_frame_rate_hz(tab):.1f} frames/s, rendered on the CPU")
    page.close()


_COUNT_FRAMES = """() => {
  window.frameCount = 0;
  const next = () => { window.frameCount += 1; requestAnimationFrame(next); };
  requestAnimationFrame(next); }"""


def _frame_rate_hz(tab: Any) -> float:
    """Return the rate at which the browser draws, measured for five seconds."""
    tab.page.evaluate(_COUNT_FRAMES)
    started = time.perf_counter()
    tab.page.wait_for_timeout(5000)
    return float(tab.page.evaluate("window.frameCount") / (time.perf_counter() - started))


def _fill_scene(points: int) -> tuple[Scene, float]:
    """Return a scene of a number of points from random poses, and the mean time to add a frame [s]."""
    scene, rng, index = Scene(0.02, capacity=2 * points), np.random.default_rng(0), 0
    started = time.perf_counter()
    while len(scene.points) < points:
        _add(scene, index, rng)
        index += 1
    return scene, (time.perf_counter() - started) / index


def _add(scene: Scene, index: int, rng: np.random.Generator) -> None:
    height, width = PIXELS
    scene.update_poses(np.array([[*rng.uniform(-20, 20, 3), 0, 0, 0, 1.0]]), index)
    depth = rng.uniform(1, 6, (height, width)).astype(np.float32)
    confidence = (1 + rng.exponential(3, (height, width))).astype(np.float32)
    rgb = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    camera = Intrinsics(100.0, 100.0, width / 2, height / 2, width, height)
    scene.add(RgbdImage.from_depth(rgb, depth, confidence, camera), index, 0)


def _report(what: str, page: Page, tab: Any, scene: Scene, show: Callable[[], bool]) -> None:
    """Update the page until everything was sent and received; print bytes and times."""
    received_before, sent_before = tab.received_bytes, page.map.sent_bytes
    started, times_s, complete = time.perf_counter(), [], False
    while not complete:
        began = time.perf_counter()
        complete = show()
        times_s.append(time.perf_counter() - began)
        tab.page.wait_for_timeout(max(0.0, 1e3 * (PERIOD_S - times_s[-1])))
    sent_s = time.perf_counter() - started
    sent = page.map.sent_bytes - sent_before
    tab.wait_until(lambda: tab.received_bytes - received_before >= sent, f"{sent} bytes")
    tab.settle()
    received = tab.received_bytes - received_before
    drawn = scene.count(page.panel.selection())
    print(
        f"{what}: {drawn:,} points drawn, {received / 1e6:.2f} MB in {len(times_s)} updates, {sent_s:.2f} s at"
        f" {1 / PERIOD_S:.0f} updates/s; work per update: median {1e3 * np.median(times_s):.1f} ms,"
        f" worst {1e3 * max(times_s):.1f} ms"
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
    cases: dict[str, Callable[[], AbstractContextManager[Any]] | None] = {
        "no viewer": None,
        "viewer, no browser": nullcontext,
        "browser on another machine": _receiver,
        "browser here, rendered on the CPU": lambda: _browser(_URL),
    }
    rounds: dict[str, list[NodeRound]] = {name: [] for name in cases}
    for number in range(arguments.rounds):
        for name, browser in cases.items():
            rounds[name].append(_node_round(arguments.frames, browser))
            median = np.median(rounds[name][-1].times_ms)
            print(f"round {number + 1}, {name}: median {median:.1f} ms", file=sys.stderr, flush=True)
    rclpy.utilities.try_shutdown()
    _print_node_table(rounds)


@dataclass(frozen=True)
class NodeRound:
    """One run of the node over the same images."""

    times_ms: np.ndarray  # (N,) from sending an image to receiving its pose
    worker_ms: float  # mean of the last hundred frames, from receiving an image to its results, measured by the node
    dropped: str  # frames that the viewer dropped, from the diagnostics
    received_mb: float  # by the browser
    positions: np.ndarray  # (N, 3) of all frames [m]


def _print_node_table(rounds: dict[str, list[NodeRound]]) -> None:
    reference = rounds["no viewer"][0].positions
    print(
        "| | image to pose: median [ms] | rounds | p95 [ms] | in the node: mean [ms] | viewer dropped | received [MB]"
        " | positions differ by |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, runs in rounds.items():
        times = np.concatenate([run.times_ms for run in runs])
        medians = [float(np.median(run.times_ms)) for run in runs]
        difference_mm = max(1e3 * float(np.abs(run.positions - reference).max()) for run in runs)
        print(
            f"| {name} | {np.median(times):.1f} | {min(medians):.1f} to {max(medians):.1f}"
            f" | {np.percentile(times, 95):.1f} | {np.mean([run.worker_ms for run in runs]):.1f}"
            f" | {', '.join(run.dropped for run in runs)} | {np.mean([run.received_mb for run in runs]):.1f}"
            f" | {difference_mm:.3g} mm |"
        )


def _node_round(frames: int, browser: Callable[[], AbstractContextManager[Any]] | None) -> NodeRound:
    """Send the node one image at a time; the first ones are not timed."""
    from ttt3r_ros.io.run_folder import TRAJECTORY
    from ttt3r_ros.io.trajectory_files import read_tum
    from ttt3r_ros.ros.harness.node_process import mapping_node
    from ttt3r_ros.ros.harness.player import Player

    images, times, count = list(ProceduralRoom(frames=LOOP).frames()), [], WARM_UP + frames
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parameters = {
            "viewer": browser is not None,
            "viewer_port": _PORT,
            "diagnostics_period": 0.5,
            "image_qos": "reliable",
            "output_directory": str(folder),
        }
        with mapping_node(parameters, folder / "node.log") as node:
            player = Player(calibrated=True)
            player.wait_until_ready(node)
            with (browser or nullcontext)() as client:
                for index in range(count):
                    frame = replace(images[index % LOOP], stamp_ns=(index + 1) * 10**7)
                    started = time.perf_counter()
                    player.publish(frame)
                    player.wait_for(node, partial(player.is_finished, index + 1))
                    times.append(1e3 * (time.perf_counter() - started))
                player.wait_for(node, lambda: player.stats.processed == count)
                if client is not None:
                    client.settle()
                received_mb = 0.0 if client is None else 1e-6 * client.received_bytes
            player.call("save_trajectory")
            worker_ms, dropped = (player.facts.get(key, "-") for key in ("latency_ms", "viewer_dropped"))
            player.close()
        positions = np.array([T[:3, 3] for _, T in read_tum(folder / TRAJECTORY)])
    return NodeRound(np.array(times[WARM_UP:]), float(worker_ms), dropped, received_mb, positions)


_PORT = 8099
_URL = f"http://127.0.0.1:{_PORT}"


class Receiver:
    """Receives the data of a browser without rendering it, like a browser on another machine."""

    def __init__(self, messages: Iterator[str | bytes]) -> None:
        self.received_bytes = 0
        self._messages = messages
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        for message in self._messages:
            self.received_bytes += len(message)

    def settle(self) -> None:
        """Do nothing: received bytes are counted immediately."""


@contextmanager
def _receiver() -> Iterator[Receiver]:
    import viser
    from websockets.sync.client import connect

    protocol: Any = f"viser-v{viser.__version__}"
    with connect(_URL.replace("http", "ws"), subprotocols=[protocol], max_size=None) as socket:
        yield Receiver(iter(socket))


if __name__ == "__main__":
    sys.exit(main())
