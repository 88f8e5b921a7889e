# SPDX-License-Identifier: Apache-2.0
"""Transfer of scene nodes to the browser: only changed nodes are sent, with a limit per update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import quat_xyzw_from_rotation
from ttt3r_ros.viewer.scene import Points

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from ttt3r_ros.types import Float64Array
    from ttt3r_ros.viewer.cameras import Lines
    from ttt3r_ros.viewer.scene import SceneNode

MAX_BYTES_PER_UPDATE = 2_000_000  # the next update sends the rest
_LINE_PX = 1.5
# viser expects linear colors for lines, but sRGB colors for points and images.
_SRGB = np.arange(256) / 255.0
_LINEAR = np.rint(
    255.0 * np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4)
).astype(np.uint8)


class Layer:
    """Nodes of one kind in the browser, by name."""

    def __init__(self, server: Any) -> None:
        self.sent_bytes = 0
        self._server = server
        self._handles: dict[str, Any] = {}  # of viser
        self._signatures: dict[str, Hashable] = {}
        self._poses: dict[str, Float64Array] = {}
        self._point_size: float | None = None

    def show(self, nodes: Iterable[SceneNode], point_size: float = 0.0) -> bool:
        """Draw these nodes and hide all others; return whether all of them are up to date."""
        visible = {node.name: node for node in nodes}
        self._resize(point_size)
        remaining_bytes = MAX_BYTES_PER_UPDATE
        for name, node in visible.items():
            if self._signatures.get(name) != node.signature:
                if remaining_bytes <= 0:
                    continue
                remaining_bytes -= self._send(node)
            self._move(node)
        for name, handle in self._handles.items():
            # A hidden node stays in the browser and reappears without transfer.
            if handle.visible != (name in visible):
                handle.visible = name in visible
        return remaining_bytes > 0

    def clear(self) -> None:
        """Remove everything."""
        for handle in self._handles.values():
            handle.remove()
        for entries in (self._handles, self._signatures, self._poses):
            entries.clear()

    def _send(self, node: SceneNode) -> int:
        """Send a node; return its size in bytes."""
        content = node.create()
        if isinstance(content, Points):
            handle, size = self._add_points(node, content), 6 * len(content.xyz)
        else:
            handle, size = self._add_lines(node, content), content.ends.nbytes
        size += content.rgb.nbytes
        self._handles[node.name], self._signatures[node.name] = handle, node.signature
        self._poses[node.name] = node.T_map_node
        self.sent_bytes += size
        return size

    def _add_points(self, node: SceneNode, points: Points) -> Any:
        position, wxyz = position_and_wxyz(node.T_map_node)
        return self._server.scene.add_point_cloud(
            node.name,
            points.xyz.astype(np.float16),
            np.ascontiguousarray(points.rgb),
            point_size=self._point_size,
            point_shape="square",
            point_shading="flat",
            precision="float16",
            position=position,
            wxyz=wxyz,
        )

    def _add_lines(self, node: SceneNode, lines: Lines) -> Any:
        return self._server.scene.add_line_segments(
            node.name, lines.ends, _LINEAR[lines.rgb], thickness=_LINE_PX, thickness_units="screen"
        )

    def _move(self, node: SceneNode) -> None:
        if self._poses[node.name] is not node.T_map_node:
            handle = self._handles[node.name]
            handle.position, handle.wxyz = position_and_wxyz(node.T_map_node)
            self._poses[node.name] = node.T_map_node

    def _resize(self, point_size: float) -> None:
        if self._point_size != point_size:
            self._point_size = point_size
            for handle in self._handles.values():
                if hasattr(handle, "point_size"):
                    handle.point_size = point_size


def position_and_wxyz(T: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the position (3,) and the quaternion (4,) of a pose (4, 4), in the order of viser."""
    return T[:3, 3], quat_xyzw_from_rotation(T[:3, :3])[[3, 0, 1, 2]]
