# SPDX-License-Identifier: Apache-2.0
"""Pieces of a scene on their way to the browser: only what has changed is sent, and only so much at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import quat_xyzw_from_rotation
from ttt3r_ros.viewer.scene import Points

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from ttt3r_ros.types import Float64Array
    from ttt3r_ros.viewer.cameras import Lines
    from ttt3r_ros.viewer.scene import Piece

MOST_BYTES = 2_000_000  # of new content for each picture; what is left over comes with the next ones
_LINE_PX = 1.5
# viser takes the colors of lines for linear light and those of points and images for what the screen shows (sRGB).
_SRGB = np.arange(256) / 255.0
_LINEAR = np.rint(
    255.0 * np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4)
).astype(np.uint8)


class Layer:
    """The nodes of one kind that the browser has, by their names."""

    def __init__(self, server: Any) -> None:
        self.sent_bytes = 0
        self._server = server
        self._nodes: dict[str, Any] = {}
        self._signatures: dict[str, Hashable] = {}
        self._places: dict[str, Float64Array] = {}
        self._point_size: float | None = None

    def show(self, pieces: Iterable[Piece], point_size: float = 0.0) -> bool:
        """Draw these pieces and nothing else; tell whether all of them are up to date."""
        wanted = {piece.name: piece for piece in pieces}
        self._resize(point_size)
        left = MOST_BYTES
        for name, piece in wanted.items():
            if self._signatures.get(name) != piece.signature:
                if left <= 0:
                    continue
                left -= self._send(piece)
            self._move(piece)
        for name, node in self._nodes.items():
            # What is hidden stays in the browser: shown again, it costs no more than saying so.
            if node.visible != (name in wanted):
                node.visible = name in wanted
        return left > 0

    def clear(self) -> None:
        """Remove everything."""
        for node in self._nodes.values():
            node.remove()
        for known in (self._nodes, self._signatures, self._places):
            known.clear()

    def _send(self, piece: Piece) -> int:
        content = piece.make()
        node = (
            self._points(piece, content) if isinstance(content, Points) else self._lines(piece, content)
        )
        self._nodes[piece.name], self._signatures[piece.name] = node, piece.signature
        self._places[piece.name] = piece.T_map_piece
        size = content.rgb.nbytes
        size += 6 * len(content.xyz) if isinstance(content, Points) else content.ends.nbytes
        self.sent_bytes += size
        return size

    def _points(self, piece: Piece, points: Points) -> Any:
        position, wxyz = _place(piece.T_map_piece)
        return self._server.scene.add_point_cloud(
            piece.name,
            points.xyz.astype(np.float16),
            np.ascontiguousarray(points.rgb),
            point_size=self._point_size,
            point_shape="square",
            point_shading="flat",
            precision="float16",
            position=position,
            wxyz=wxyz,
        )

    def _lines(self, piece: Piece, lines: Lines) -> Any:
        return self._server.scene.add_line_segments(
            piece.name, lines.ends, _LINEAR[lines.rgb], thickness=_LINE_PX, thickness_units="screen"
        )

    def _move(self, piece: Piece) -> None:
        if self._places[piece.name] is not piece.T_map_piece:
            node = self._nodes[piece.name]
            node.position, node.wxyz = _place(piece.T_map_piece)
            self._places[piece.name] = piece.T_map_piece

    def _resize(self, point_size: float) -> None:
        if self._point_size != point_size:
            self._point_size = point_size
            for node in self._nodes.values():
                if hasattr(node, "point_size"):
                    node.point_size = point_size


def _place(T_map_piece: Float64Array) -> tuple[Float64Array, Float64Array]:
    return T_map_piece[:3, 3], quat_xyzw_from_rotation(T_map_piece[:3, :3])[[3, 0, 1, 2]]
