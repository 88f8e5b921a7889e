# SPDX-License-Identifier: Apache-2.0
"""Web page of the viewer, served by viser."""

from __future__ import annotations

import io
import ipaddress
import logging
import queue
import socket
import tempfile
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ttt3r_ros.errors import ConfigError, OutputError
from ttt3r_ros.geometry import transform
from ttt3r_ros.io.export.point_cloud import write_ply
from ttt3r_ros.viewer.layers import Layer, position_and_wxyz
from ttt3r_ros.viewer.panel import Panel
from ttt3r_ros.viewer.points import BANDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.types import Float64Array, UInt8Array
    from ttt3r_ros.viewer.panel import PanelSettings
    from ttt3r_ros.viewer.scene import RgbdImage, Scene, Selection

_SCREENSHOT_SIZE = (1080, 1920)  # height, width
_SCREENSHOT_TIMEOUT_S = 30.0
_FOLLOW_POSITION = np.array([0.0, -0.6, -1.8])  # of the view, in the optical frame of the camera [m]
_FOLLOW_TARGET = np.array([0.0, 0.0, 2.0])
_CURRENT_CAMERA = "/current_camera"
_FRUSTUM_IMAGE_WIDTH = 160  # [px]
_MIN_VISIBLE_FRACTION = 0.05  # of the points; below it the page states the reason
# Disk full, timeout, or browser disconnected (RuntimeError of viser).
_SEND_ERRORS = (OSError, OutputError, RuntimeError, cv2.error)
logger = logging.getLogger(__name__)


class Page:
    """One page, the same for all browsers. `show` must be called by one thread."""

    def __init__(self, host: str, port: int, settings: PanelSettings) -> None:
        """Serve the page; port 0 is any free port.

        Raises:
            ConfigError: viser is not installed, or the port is in use.
        """
        self._server = _serve(host, port)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self._server.get_port()}"
        self._warn_if_public(host)
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
        self._shown_camera: tuple[bytes, RgbdImage | None] = (b"", None)
        self._shown_content: tuple[object, object] = (None, None)  # points and camera path with nodes
        self._was_following = False
        self._send_error = ""  # of the newest download
        self._new_clients: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._server.on_client_connect(self._new_clients.put)

    def show(self, scene: Scene, note: str = "") -> bool:
        """Update the page, with a note below the status; return False if the next update must send more points."""
        content = scene.points, scene.camera_path
        for layer, new, shown in zip(
            (self.map, self.cameras), content, self._shown_content, strict=True
        ):
            if new is not shown:
                layer.clear()
        self._shown_content = content
        selection = self.panel.selection()
        complete = self.map.show(scene.point_nodes(selection), float(self.panel.point_size.value))
        self.cameras.show(scene.camera_nodes(selection))
        self.panel.set_image(scene.rgbd)
        if (last := scene.last(selection)) >= 0:
            self._show_camera(scene, scene.camera_path.T_map_camera[last])
        elif self.current_camera is not None:
            self.current_camera.remove()
            self.current_camera, self._shown_camera = None, (b"", None)
        while not self._downloads.empty():
            client = self._downloads.get()
            self._send("the PLY", partial(_send_ply, client, scene, selection))
        lines = [*_status_lines(scene, selection), note, self._send_error]
        self.panel.set_status("  \n".join(filter(None, lines)))
        return complete

    def clients(self) -> list[Any]:
        """Return the connected browsers."""
        return list(self._server.get_clients().values())

    def close(self) -> None:
        """Stop the server."""
        self._server.stop()

    def _warn_if_public(self, host: str) -> None:
        try:
            is_local = ipaddress.ip_address(host).is_loopback
        except ValueError:
            is_local = host == "localhost"
        if not is_local:
            logger.warning(
                "anyone on the network can open the viewer at %s; it has no password", self.url
            )

    def _show_camera(self, scene: Scene, T_map_camera: Float64Array) -> None:
        """Draw the current camera with its image; move the views that follow it."""
        field_of_view, rgbd = scene.field_of_view, scene.rgbd
        shown_pose, shown_rgbd = self._shown_camera
        if changed := shown_pose != T_map_camera.tobytes() or shown_rgbd is not rgbd:
            self._shown_camera = (T_map_camera.tobytes(), rgbd)
            position, wxyz = position_and_wxyz(T_map_camera)
            self.current_camera = self._server.scene.add_camera_frustum(
                _CURRENT_CAMERA,
                fov=field_of_view.vertical_fov,
                aspect=field_of_view.aspect,
                scale=2.0 * scene.camera_path.frustum_depth_m,
                image=_subsample(rgbd.rgb) if rgbd is not None else None,
                position=position,
                wxyz=wxyz,
                color=(255, 255, 255),
                thickness=2.0,
                thickness_units="screen",
            )
        follows = bool(self.panel.follow.value)
        if follows and (changed or not self._was_following):
            for client in self.clients():
                _move_view_behind(client, T_map_camera)
        self._was_following = follows
        while not self._new_clients.empty():
            _move_view_behind(self._new_clients.get(), T_map_camera)

    def _send_screenshot(self, client: Any) -> None:
        """Send the view of a browser as a file; called on a thread of viser, because it waits for the browser."""
        self._send("the screenshot", partial(_send_screenshot, client))

    def _send(self, what: str, send: Callable[[], None]) -> None:
        """Send a file; an error is logged and shown on the page."""
        try:
            send()
        except _SEND_ERRORS as error:
            logger.warning("%s could not be sent: %s", what, error)
            self._send_error = f"{what} could not be sent: `{error}`"
        else:
            self._send_error = ""


def _serve(host: str, port: int) -> Any:
    try:
        import viser  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        msg = f"the viewer needs the module {error.name}: pip install 'ttt3r_ros[viewer]'"
        raise ConfigError(msg) from error

    class PrivateServer(viser.ViserServer):  # type: ignore[misc, unused-ignore]
        """Server that refuses public links: any client can request one, even without the button."""

        def request_share_url(self, verbose: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - viser's signature
            logger.warning("refused a request for a public link to the viewer")

    port = _free_port(host, port)
    with redirect_stdout(io.StringIO()):  # viser prints a banner
        server = PrivateServer(host, port, label="ttt3r_ros", verbose=False)
    if server.get_port() != port:
        server.stop()
        msg = f"the viewer cannot listen on {host}, port {port}: another process took it"
        raise ConfigError(msg)
    return server


def _free_port(host: str, port: int) -> int:
    """Return the port if it is free, for 0 any free one; viser itself would silently use the next one."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((host, port), family=family) as probe:
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        msg = f"the viewer cannot listen on {host}, port {port}: {error}"
        raise ConfigError(msg) from error


def _move_view_behind(client: Any, T_map_camera: Float64Array) -> None:
    with client.atomic():
        client.camera.up_direction = (0.0, 0.0, 1.0)
        client.camera.position = transform(T_map_camera, _FOLLOW_POSITION)
        client.camera.look_at = transform(T_map_camera, _FOLLOW_TARGET)


def _subsample(rgb: UInt8Array) -> UInt8Array:
    step = max(1, rgb.shape[1] // _FRUSTUM_IMAGE_WIDTH)
    return np.ascontiguousarray(rgb[::step, ::step])


def _status_lines(scene: Scene, selection: Selection) -> list[str]:
    drawn, stride, last = scene.count(selection), scene.stride(selection), scene.last(selection)
    lines = [
        f"**{drawn:,}** of {len(scene.points):,} points" + (f" (1 in {stride})" if stride > 1 else "")
    ]
    if selection.band:
        lines.append(f"confidence at least {BANDS[selection.band]:g}")
    if scene.visible_fraction(selection) < _MIN_VISIBLE_FRACTION:
        lines.append("most points are below the selected confidence")
    if last >= 0:
        segments = scene.camera_path.segments
        lines.append(f"frame {last} (0 to {len(segments) - 1})")
        if newest := int(segments[-1]):
            lines.append(f"segment {segments[last]} (0 to {newest})")
        if not selection.by_segment:
            lines.append("path: blue (first) to red (last)")
    return lines


def _send_screenshot(client: Any) -> None:
    height, width = _SCREENSHOT_SIZE
    image = client.get_render(height, width, transport_format="png", timeout=_SCREENSHOT_TIMEOUT_S)
    encoded = cv2.imencode(".png", np.ascontiguousarray(image[..., 2::-1]))[1]
    client.send_file_download("viewer.png", encoded.tobytes(), save_immediately=True)


def _send_ply(client: Any, scene: Scene, selection: Selection) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.ply"
        write_ply(path, scene.cloud(selection))
        client.send_file_download(path.name, path.read_bytes(), save_immediately=True)
