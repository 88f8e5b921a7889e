# SPDX-License-Identifier: Apache-2.0
"""The page in the browser, served by viser."""

from __future__ import annotations

import io
import ipaddress
import logging
import queue
import socket
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ttt3r_ros.errors import ConfigError, OutputError
from ttt3r_ros.geometry import quat_xyzw_from_rotation, transform
from ttt3r_ros.io.export.point_cloud import write_ply
from ttt3r_ros.viewer.layers import Layer
from ttt3r_ros.viewer.panel import Panel
from ttt3r_ros.viewer.points import BANDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.types import Float64Array, UInt8Array
    from ttt3r_ros.viewer.panel import PanelSettings
    from ttt3r_ros.viewer.scene import Choice, Scene, Sight

_SCREENSHOT = (1080, 1920)
_PATIENCE_S = 30.0  # with a browser that was asked for one
_BEHIND = np.array([0.0, -0.6, -1.8])  # of a camera that is followed, in its optical frame [m]
_AHEAD = np.array([0.0, 0.0, 2.0])
_NOW = "/now"
_FRUSTUM_WIDTH = 160  # of the image in the current camera [px]
_FEW = 0.05  # of the points: if so few are sure enough, that is said
# No space, no time, no browser any more (RuntimeError, says viser).
_UNSENT = (OSError, OutputError, RuntimeError, cv2.error)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Showing:
    """What else there is to say."""

    note: str = ""


class Page:
    """One page, the same for all who look at it. `show` is for one thread."""

    def __init__(self, host: str, port: int, settings: PanelSettings) -> None:
        """Serve the page.

        Port 0 is any that is free.

        Raises:
            ConfigError: viser is missing, or the port cannot be had.
        """
        self._server = _serve(host, port)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self._server.get_port()}"
        self._warn_if_open(host)
        self._server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
        self._server.scene.set_up_direction("+z")
        self._downloads: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.panel = Panel(
            self._server.gui,
            settings,
            on_download=self._downloads.put,
            on_screenshot=self._send_screenshot,
        )
        self.map, self.cameras = Layer(self._server), Layer(self._server)
        self.current_camera: Any = None
        self._now_shown: tuple[bytes, Sight | None] = (b"", None)
        # The points and the way of which nodes are there.
        self._shown: tuple[object, object] = (None, None)
        self._followed = False
        self._failed = ""  # the newest download that came to nothing
        self._newcomers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._server.on_client_connect(self._newcomers.put)

    def show(self, scene: Scene, showing: Showing) -> bool:
        """Bring the page up to date; tell whether it now is, or some points are still to come."""
        for layer, before, now in zip(
            (self.map, self.cameras), self._shown, (scene.points, scene.way), strict=True
        ):
            if now is not before:
                layer.clear()
        self._shown = scene.points, scene.way
        choice = self.panel.choice()
        complete = self.map.show(scene.point_pieces(choice), float(self.panel.point_size.value))
        self.cameras.show(scene.camera_pieces(choice))
        self.panel.picture(scene.sight)
        if (last := scene.last(choice)) >= 0:
            self._show_camera(scene, scene.way.T_map_camera[last])
        elif self.current_camera is not None:
            self.current_camera.remove()
            self.current_camera, self._now_shown = None, (b"", None)
        while not self._downloads.empty():
            client = self._downloads.get()
            self._try("the PLY", partial(_send_ply, client, scene, choice))
        self.panel.tell("  \n".join(filter(None, (_status(scene, choice, showing), self._failed))))
        return complete

    def clients(self) -> list[Any]:
        """Return those who look at the page."""
        return list(self._server.get_clients().values())

    def close(self) -> None:
        """Serve no more."""
        self._server.stop()

    def _warn_if_open(self, host: str) -> None:
        try:
            here_alone = ipaddress.ip_address(host).is_loopback
        except ValueError:
            here_alone = host == "localhost"
        if not here_alone:
            logger.warning(
                "the viewer at %s can be opened by anyone on the network; it has no password", self.url
            )

    def _show_camera(self, scene: Scene, T_map_camera: Float64Array) -> None:
        """Draw the current camera with its image, and take the users there."""
        lens, sight = scene.lens, scene.sight
        before, before_sight = self._now_shown
        if moved := before != T_map_camera.tobytes() or before_sight is not sight:
            self._now_shown = (T_map_camera.tobytes(), sight)
            self.current_camera = self._server.scene.add_camera_frustum(
                _NOW,
                fov=lens.vertical_fov,
                aspect=lens.aspect,
                scale=2.0 * scene.way.frustum_depth_m(),
                image=_small(sight.rgb) if sight is not None else None,
                position=T_map_camera[:3, 3],
                wxyz=quat_xyzw_from_rotation(T_map_camera[:3, :3])[[3, 0, 1, 2]],
                color=(255, 255, 255),
                thickness=2.0,
                thickness_units="screen",
            )
        follows = bool(self.panel.follow.value)
        if follows and (moved or not self._followed):
            for client in self.clients():
                _look_over_shoulder(client, T_map_camera)
        self._followed = follows
        while not self._newcomers.empty():
            _look_over_shoulder(self._newcomers.get(), T_map_camera)

    def _send_screenshot(self, client: Any) -> None:
        """Send what a user sees as a file; on a thread of viser's, for it waits for the browser."""
        self._try("the screenshot", partial(_send_screenshot, client))

    def _try(self, what: str, send: Callable[[], None]) -> None:
        """Send a file; where that fails, say so and go on."""
        try:
            send()
        except _UNSENT as error:
            logger.warning("%s could not be sent: %s", what, error)
            self._failed = f"{what} could not be sent: `{error}`"
        else:
            self._failed = ""


def _serve(host: str, port: int) -> Any:
    try:
        import viser  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        msg = f"the viewer needs the module {error.name}: pip install 'ttt3r_ros[viewer]'"
        raise ConfigError(msg) from error

    class PrivateServer(viser.ViserServer):  # type: ignore[misc, unused-ignore]
        """Any page that connects may ask for a public link to this one; without the button, too."""

        def request_share_url(self, verbose: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - viser's signature
            logger.warning("a public link to the viewer was asked for and refused")

    port = _free_port(host, port)
    with redirect_stdout(io.StringIO()):  # viser's banner; who asked for the page says where it is
        server = PrivateServer(host, port, label="ttt3r_ros", verbose=False)
    if server.get_port() != port:
        server.stop()
        msg = f"the viewer cannot listen on {host}, port {port}: somebody else just took it"
        raise ConfigError(msg)
    return server


def _free_port(host: str, port: int) -> int:
    """Return the port if it can be had, for 0 any other; viser itself would quietly take the next one."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((host, port), family=family) as probe:
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        msg = f"the viewer cannot listen on {host}, port {port}: {error}"
        raise ConfigError(msg) from error


def _look_over_shoulder(client: Any, T_map_camera: Float64Array) -> None:
    with client.atomic():
        client.camera.up_direction = (0.0, 0.0, 1.0)
        client.camera.position = transform(T_map_camera, _BEHIND)
        client.camera.look_at = transform(T_map_camera, _AHEAD)


def _small(rgb: UInt8Array) -> UInt8Array:
    step = max(1, rgb.shape[1] // _FRUSTUM_WIDTH)
    return np.ascontiguousarray(rgb[::step, ::step])


def _status(scene: Scene, choice: Choice, showing: Showing) -> str:
    drawn, stride, last = scene.count(choice), scene.stride(choice), scene.last(choice)
    lines = [
        f"**{drawn:,}** of {len(scene.points):,} points" + (f", every {stride}." if stride > 1 else "")
    ]
    if choice.band:
        lines.append(f"confidence {BANDS[choice.band]:g} or more")
    if scene.found(choice) < _FEW:
        lines.append("most points are below the confidence chosen")
    if last >= 0:
        lines.append(f"frame {last} (0 to {len(scene.way) - 1})")
        if newest := int(scene.way.segments[-1]):
            lines.append(f"segment {scene.way.segments[last]} (0 to {newest})")
        if not choice.by_segment:
            lines.append("path: blue is early, red is late")
    if showing.note:
        lines.append(showing.note)
    return "  \n".join(lines)


def _send_screenshot(client: Any) -> None:
    height, width = _SCREENSHOT
    picture = client.get_render(height, width, transport_format="png", timeout=_PATIENCE_S)
    encoded = cv2.imencode(".png", np.ascontiguousarray(picture[..., 2::-1]))[1]
    client.send_file_download("viewer.png", encoded.tobytes(), save_immediately=True)


def _send_ply(client: Any, scene: Scene, choice: Choice) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.ply"
        write_ply(path, scene.cloud(choice))
        client.send_file_download(path.name, path.read_bytes(), save_immediately=True)
