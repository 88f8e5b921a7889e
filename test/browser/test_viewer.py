# SPDX-License-Identifier: Apache-2.0
"""The page of a recorded run in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from walls import COLORS, POSITIONS, poses, serve_run, write_walls

from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.viewer import colors
from ttt3r_ros.viewer.points import BANDS

pytest.importorskip("viser")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Tab

    from ttt3r_ros.viewer.replay import Replay

MAGENTA, GREEN, BLUE = COLORS
WALL_PX = 500  # minimum number of pixels of a visible wall


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    with serve_run(write_walls(tmp_path_factory.mktemp("run"))) as replay:
        yield replay


@pytest.fixture
def view(replay: Replay, tab: Tab) -> Tab:
    """The page with its initial settings and a view in which all walls are visible."""
    panel = replay.page.panel
    panel.confidence.value, panel.by_segment.value, panel.follow.value = 1.5, False, False
    assert panel.playback is not None
    panel.playback.slider.value = len(POSITIONS) - 1
    tab.open(replay.page.url)
    tab.wait_until(lambda: [x for x in view_positions(replay) if -2.0 < x[0] < -1.5], "the initial view")
    set_view_behind(replay)
    tab.wait_until(lambda: all(tab.pixels_of(color) > WALL_PX for color in COLORS), "three walls")
    return tab


def view_positions(replay: Replay) -> list[np.ndarray]:
    return [client.camera.position for client in replay.page.clients()]


def set_view_behind(replay: Replay) -> None:
    for client in replay.page.clients():
        client.camera.position, client.camera.look_at = (-7.0, 0.0, 1.5), (2.0, 0.0, 1.0)


def drawn_points(tab: Tab) -> int:
    """Return the number of drawn points, as displayed."""
    text = tab.page.locator("strong").first.inner_text()
    return int(text.replace(",", ""))


def press(tab: Tab, label: str, key: str, times: int) -> None:
    """Move a slider with the keyboard."""
    thumb = tab.page.get_by_role("slider").nth(
        ["min. confidence", "point size [m]", "max. points [M]", "frame"].index(label)
    )
    thumb.focus()
    for _ in range(times):
        thumb.press(key)


def select_confidence(tab: Tab, minimum: float, previous: float = 1.5) -> None:
    """Move the slider band by band to a minimum confidence."""
    bands = [band for band in BANDS if min(previous, minimum) <= band <= max(previous, minimum)]
    for band in bands[1:] if minimum > previous else bands[-2::-1]:
        press(tab, "min. confidence", "ArrowRight" if minimum > previous else "ArrowLeft", 1)
        tab.wait_until(
            tab.page.get_by_text(f"confidence at least {band:g}").count, f"confidence {band:g}"
        )


def test_the_page_loads_without_errors_and_requests_nothing_from_other_hosts(view):
    assert view.errors == []
    assert view.hosts == {"127.0.0.1"}


def test_a_request_for_a_public_link_is_refused(replay, tab, caplog):
    import msgspec
    import viser
    from websockets.sync.client import connect

    address = replay.page.url.replace("http", "ws")
    with connect(address, subprotocols=[f"viser-v{viser.__version__}"], max_size=None) as client:
        client.send(msgspec.msgpack.encode({"type": "ShareUrlRequest"}))
        tab.wait_until(lambda: "public link" in caplog.text, "a refusal")


def test_the_points_of_the_map_arrive_in_their_colors(view, replay):
    assert drawn_points(view) == len(replay.scene.points) > 3000
    assert view.received_bytes > 9 * len(replay.scene.points)


def test_the_confidence_slider_hides_points_and_shows_them_again_without_transfer(view, replay):
    before = drawn_points(view)
    select_confidence(view, 3.0)
    view.wait_until(lambda: view.pixels_of(MAGENTA) == 0, "no magenta")
    assert view.pixels_of(GREEN) > WALL_PX
    assert view.pixels_of(BLUE) > WALL_PX
    assert 0 < drawn_points(view) < before
    sent = replay.page.map.sent_bytes
    select_confidence(view, 1.5, previous=3.0)
    view.wait_until(lambda: view.pixels_of(MAGENTA) > WALL_PX, "magenta again")
    assert replay.page.map.sent_bytes == sent


def test_an_earlier_frame_hides_later_points_and_moves_the_camera(view, replay):
    camera = replay.page.current_camera
    assert camera.position == pytest.approx(POSITIONS[2])
    press(view, "frame", "ArrowLeft", 1)
    view.wait_until(lambda: view.pixels_of(BLUE, 60) < WALL_PX, "no blue")
    assert view.pixels_of(GREEN) > WALL_PX
    view.wait_until(lambda: np.allclose(replay.page.current_camera.position, POSITIONS[1]), "the camera")


def test_playback_runs_to_the_last_frame_and_stops(view, replay):
    playback = replay.page.panel.playback
    playback.rate.value = 0.5
    view.page.get_by_role("button", name="play").click()
    view.wait_until(lambda: playback.playing, "playback")
    view.wait_until(lambda: view.pixels_of(GREEN) < WALL_PX, "only the first frame")
    view.wait_until(lambda: not playback.playing, "the end")
    view.wait_until(lambda: view.pixels_of(BLUE) > WALL_PX, "all walls")


def test_color_by_segment_replaces_the_colors_of_the_images(view, replay):
    view.page.get_by_text("color by segment").click()
    view.wait_until(lambda: view.pixels_of(MAGENTA) + view.pixels_of(GREEN) < WALL_PX, "other colors")


def test_the_last_camera_is_red(view):
    red = tuple(colors.turbo_colors(np.ones(1))[0].tolist())
    view.wait_until(lambda: view.pixels_of(red) > 20, "the frustum")


def test_the_view_follows_the_camera(view, replay):
    view.page.get_by_text("follow camera").click()
    press(view, "frame", "ArrowLeft", 2)
    (client,) = replay.page.clients()
    view.wait_until(lambda: client.camera.position[1] > POSITIONS[0][1] - 0.5, "the camera")


def test_the_view_moves_behind_the_camera_when_following_is_selected(view, replay):
    view.settle()  # until the browser has sent the position of its view
    view.wait_until(lambda: view_positions(replay)[0][0] < -5.0, "the view from far behind")
    view.page.get_by_text("follow camera").click()
    view.wait_until(lambda: -3.0 < view_positions(replay)[0][0] < 0.0, "the view from close behind")


def test_the_page_displays_the_frame_index_of_the_files(view, replay):
    view.wait_until(lambda: view.page.get_by_text("frame 2 (0 to 2)").count(), "the last frame")
    press(view, "frame", "ArrowLeft", 2)
    view.wait_until(lambda: view.page.get_by_text("frame 0 (0 to 2)").count(), "the first frame")


def test_the_depth_image_has_a_label_with_the_range_of_its_colors(view):
    label = view.page.get_by_text("depth, 2.0 m (red) to 2.0 m (blue)")
    view.wait_until(label.count, "the label")


def test_the_page_states_that_most_points_are_below_the_selected_confidence(view):
    text = view.page.get_by_text("most points are below the selected confidence")
    select_confidence(view, 10.0)
    view.wait_until(lambda: drawn_points(view) > 0, "the blue wall")
    assert text.count() == 0  # a third of the points is visible
    press(view, "frame", "ArrowLeft", 1)
    view.wait_until(text.count, "the text")
    assert drawn_points(view) == 0


def test_a_failed_download_is_reported_and_the_next_one_succeeds(view, replay, monkeypatch):
    def raise_disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.TemporaryDirectory", raise_disk_full)
        view.page.get_by_role("button", name="download PLY").click()
        text = view.page.get_by_text("the PLY could not be sent")
        view.wait_until(text.count, "the text")
    with view.page.expect_download():
        view.page.get_by_role("button", name="download PLY").click()
    view.wait_until(lambda: text.count() == 0, "no text")


def test_the_ply_contains_the_drawn_points(view, replay, tmp_path):
    select_confidence(view, 3.0)
    view.wait_until(lambda: view.pixels_of(MAGENTA) == 0, "no magenta")
    with view.page.expect_download() as download:
        view.page.get_by_role("button", name="download PLY").click()
    download.value.save_as(tmp_path / "map.ply")
    points, rgb = read_ply(tmp_path / "map.ply")
    assert len(points) == drawn_points(view)
    assert points[:, 0] == pytest.approx(2.0, abs=1e-3)
    assert (rgb[:, 0] < 128).all()  # no magenta
    assert rgb.max(axis=0)[1] > 200


def test_the_screenshot_shows_the_view(view, tmp_path):
    import cv2

    with view.page.expect_download() as download:
        view.page.get_by_role("button", name="screenshot").click()
    download.value.save_as(tmp_path / "viewer.png")
    image = cv2.imread(str(tmp_path / "viewer.png"))
    assert image.shape == (1080, 1920, 3)
    difference = np.abs(image[..., ::-1].astype(int) - MAGENTA).max(axis=-1)
    assert np.count_nonzero(difference < 40) > WALL_PX


def test_a_folder_with_only_map_and_trajectory_is_shown(tab, tmp_path):
    with serve_run(write_walls(tmp_path, images=False)) as replay:
        tab.open(replay.page.url)
        tab.wait_until(lambda: tab.pixels_of(MAGENTA) > WALL_PX, "the map")
        assert drawn_points(tab) == 1600
        assert replay.page.current_camera.position == pytest.approx(poses()[2][:3, 3])
    assert tab.hosts == {"127.0.0.1"}


def test_a_damaged_image_is_skipped_and_named_and_the_others_are_shown(tab, tmp_path):
    damaged = write_walls(tmp_path) / "depth" / "000000.png"
    damaged.write_bytes(b"no image")
    with serve_run(tmp_path) as replay:
        tab.open(replay.page.url)
        tab.wait_until(tab.page.get_by_text(f"{damaged} cannot be read").count, "the file's name")
        tab.wait_until(lambda: tab.pixels_of(BLUE) > WALL_PX, "the last wall")
        assert drawn_points(tab) == len(replay.scene.points) > 2000
        press(tab, "frame", "ArrowLeft", 2)
        tab.wait_until(
            lambda: np.allclose(replay.page.current_camera.position, POSITIONS[0]), "the camera"
        )
