# SPDX-License-Identifier: Apache-2.0
"""The viewer as its users meet it: in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from walls import COLORS, PLACES, poses, shown, write_walls

from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.viewer import colors
from ttt3r_ros.viewer.points import BANDS

pytest.importorskip("viser")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Tab

    from ttt3r_ros.viewer.replay import Replay

MAGENTA, GREEN, BLUE = COLORS
MANY = 500  # pixels of a wall that is in view


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    with shown(write_walls(tmp_path_factory.mktemp("run"))) as replay:
        yield replay


@pytest.fixture
def seen(replay: Replay, tab: Tab) -> Tab:
    """The page, looked at from behind all walls, its controls as at first."""
    panel = replay.page.panel
    panel.confidence.value, panel.by_segment.value, panel.follow.value = 1.5, False, False
    assert panel.player is not None
    panel.player.slider.value = len(PLACES) - 1
    tab.open(replay.page.url)
    tab.wait_until(lambda: [x for x in places_of_users(replay) if -2.0 < x[0] < -1.5], "the first view")
    look_from_behind(replay)
    tab.wait_until(lambda: all(tab.pixels_of(color) > MANY for color in COLORS), "three walls")
    return tab


def places_of_users(replay: Replay) -> list[np.ndarray]:
    return [client.camera.position for client in replay.page.clients()]


def look_from_behind(replay: Replay) -> None:
    for client in replay.page.clients():
        client.camera.position, client.camera.look_at = (-7.0, 0.0, 1.5), (2.0, 0.0, 1.0)


def drawn(tab: Tab) -> int:
    """Return how many points the page says it shows."""
    text = tab.page.locator("strong").first.inner_text()
    return int(text.replace(",", ""))


def press(tab: Tab, label: str, key: str, times: int) -> None:
    """Move a slider by the keyboard."""
    thumb = tab.page.get_by_role("slider").nth(
        ["confidence", "size [m]", "at most [M]", "frame"].index(label)
    )
    thumb.focus()
    for _ in range(times):
        thumb.press(key)


def choose_confidence(tab: Tab, least: float, before: float = 1.5) -> None:
    """Move the slider until it stands there; it stops at the bands alone."""
    path = [band for band in BANDS if min(before, least) <= band <= max(before, least)]
    for band in path[1:] if least > before else path[-2::-1]:
        press(tab, "confidence", "ArrowRight" if least > before else "ArrowLeft", 1)
        tab.wait_until(
            tab.page.get_by_text(f"confidence {band:g} or more").count, f"confidence {band:g}"
        )


def test_the_page_loads_without_an_error_and_asks_no_other_host(seen):
    assert seen.errors == []
    assert seen.hosts == {"127.0.0.1"}


def test_no_public_link_is_opened_though_a_client_asks_for_one(replay, tab, caplog):
    import msgspec
    import viser
    from websockets.sync.client import connect

    address = replay.page.url.replace("http", "ws")
    with connect(address, subprotocols=[f"viser-v{viser.__version__}"], max_size=None) as client:
        client.send(msgspec.msgpack.encode({"type": "ShareUrlRequest"}))
        tab.wait_until(lambda: "public link" in caplog.text, "a refusal")


def test_the_points_of_the_map_arrive_in_their_colors(seen, replay):
    assert drawn(seen) == len(replay.scene.points) > 3000
    assert seen.received_bytes > 9 * len(replay.scene.points)


def test_the_confidence_slider_hides_what_is_less_sure(seen, replay):
    before = drawn(seen)
    choose_confidence(seen, 3.0)
    seen.wait_until(lambda: seen.pixels_of(MAGENTA) == 0, "no magenta")
    assert seen.pixels_of(GREEN) > MANY
    assert seen.pixels_of(BLUE) > MANY
    assert 0 < drawn(seen) < before
    sent = replay.page.map.sent_bytes
    choose_confidence(seen, 1.5, before=3.0)
    seen.wait_until(lambda: seen.pixels_of(MAGENTA) > MANY, "magenta again")
    assert replay.page.map.sent_bytes == sent  # what was hidden had stayed in the browser


def test_going_back_in_time_takes_points_away_and_moves_the_camera(seen, replay):
    camera = replay.page.current_camera
    assert camera.position == pytest.approx(PLACES[2])
    press(seen, "frame", "ArrowLeft", 1)
    seen.wait_until(lambda: seen.pixels_of(BLUE, 60) < MANY, "no blue")
    assert seen.pixels_of(GREEN) > MANY
    seen.wait_until(lambda: np.allclose(replay.page.current_camera.position, PLACES[1]), "the camera")


def test_playing_goes_on_to_the_last_frame_and_stops(seen, replay):
    player = replay.page.panel.player
    player.rate.value = 0.5
    seen.page.get_by_role("button", name="play").click()
    seen.wait_until(lambda: player.playing, "it to play")
    seen.wait_until(lambda: seen.pixels_of(GREEN) < MANY, "the first frame alone")
    seen.wait_until(lambda: not player.playing, "the end")
    seen.wait_until(lambda: seen.pixels_of(BLUE) > MANY, "all walls")


def test_colors_of_segments_tell_them_apart(seen, replay):
    seen.page.get_by_text("color segments").click()
    seen.wait_until(lambda: seen.pixels_of(MAGENTA) + seen.pixels_of(GREEN) < MANY, "other colors")


def test_the_last_camera_is_red_as_the_page_says(seen):
    red = tuple(colors.of_shares(np.ones(1))[0].tolist())
    seen.wait_until(lambda: seen.pixels_of(red) > 20, "the frustum")


def test_following_takes_the_user_along(seen, replay):
    seen.page.get_by_text("follow").click()
    press(seen, "frame", "ArrowLeft", 2)
    (client,) = replay.page.clients()
    seen.wait_until(lambda: client.camera.position[1] > PLACES[0][1] - 0.5, "the camera")


def test_the_view_goes_behind_the_camera_at_once_when_it_is_to_follow(seen, replay):
    seen.settle()  # until the browser has told where its camera was before
    seen.wait_until(lambda: places_of_users(replay)[0][0] < -5.0, "the view from far behind")
    seen.page.get_by_text("follow").click()
    seen.wait_until(lambda: -3.0 < places_of_users(replay)[0][0] < 0.0, "the view from close behind")


def test_the_page_says_which_frame_is_seen_counting_as_the_files_do(seen, replay):
    seen.wait_until(lambda: seen.page.get_by_text("frame 2 (0 to 2)").count(), "the last frame")
    press(seen, "frame", "ArrowLeft", 2)
    seen.wait_until(lambda: seen.page.get_by_text("frame 0 (0 to 2)").count(), "the first frame")


def test_the_depth_image_says_which_depths_its_colors_are(seen):
    label = seen.page.get_by_text("depth, 2.0 m (red) to 2.0 m (blue)")
    seen.wait_until(label.count, "the label")


def test_where_nearly_all_is_hidden_the_page_says_why(seen):
    text = seen.page.get_by_text("most points are below the confidence chosen")
    choose_confidence(seen, 10.0)
    seen.wait_until(lambda: drawn(seen) > 0, "the blue wall")
    assert text.count() == 0  # a third is left
    press(seen, "frame", "ArrowLeft", 1)
    seen.wait_until(text.count, "the reason")
    assert drawn(seen) == 0


def test_a_download_that_fails_ends_nothing_else(seen, replay, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("tempfile.TemporaryDirectory", full)
        seen.page.get_by_role("button", name="download PLY").click()
        text = seen.page.get_by_text("the PLY could not be sent")
        seen.wait_until(text.count, "the reason")
    with seen.page.expect_download():
        seen.page.get_by_role("button", name="download PLY").click()
    seen.wait_until(lambda: text.count() == 0, "it to be over")


def test_the_ply_holds_the_points_that_are_drawn(seen, replay, tmp_path):
    choose_confidence(seen, 3.0)
    seen.wait_until(lambda: seen.pixels_of(MAGENTA) == 0, "no magenta")
    with seen.page.expect_download() as download:
        seen.page.get_by_role("button", name="download PLY").click()
    download.value.save_as(tmp_path / "map.ply")
    points, rgb = read_ply(tmp_path / "map.ply")
    assert len(points) == drawn(seen)
    assert points[:, 0] == pytest.approx(2.0, abs=1e-3)
    assert (rgb[:, 0] < 128).all()  # no magenta
    assert rgb.max(axis=0)[1] > 200


def test_the_screenshot_shows_what_is_seen(seen, tmp_path):
    import cv2

    with seen.page.expect_download() as download:
        seen.page.get_by_role("button", name="screenshot").click()
    download.value.save_as(tmp_path / "viewer.png")
    picture = cv2.imread(str(tmp_path / "viewer.png"))
    assert picture.shape == (1080, 1920, 3)
    away = np.abs(picture[..., ::-1].astype(int) - MAGENTA).max(axis=-1)
    assert np.count_nonzero(away < 40) > MANY


def test_a_map_and_a_trajectory_alone_are_enough(tab, tmp_path):
    with shown(write_walls(tmp_path, pictures=False)) as replay:
        tab.open(replay.page.url)
        tab.wait_until(lambda: tab.pixels_of(MAGENTA) > MANY, "the map")
        assert drawn(tab) == 1600
        assert replay.page.current_camera.position == pytest.approx(poses()[2][:3, 3])
    assert tab.hosts == {"127.0.0.1"}


def test_a_damaged_picture_is_skipped_and_named_and_all_else_is_shown(tab, tmp_path):
    damaged = write_walls(tmp_path) / "depth" / "000000.png"
    damaged.write_bytes(b"no picture")
    with shown(tmp_path) as replay:
        tab.open(replay.page.url)
        tab.wait_until(tab.page.get_by_text(f"{damaged} cannot be read").count, "the file's name")
        tab.wait_until(lambda: tab.pixels_of(BLUE) > MANY, "the last wall")
        assert drawn(tab) == len(replay.scene.points) > 2000
        press(tab, "frame", "ArrowLeft", 2)
        tab.wait_until(lambda: np.allclose(replay.page.current_camera.position, PLACES[0]), "the camera")
