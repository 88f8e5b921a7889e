# SPDX-License-Identifier: Apache-2.0
"""What this node says on /tf: one parent for each frame, and jumps in map -> odom alone (REP-105).

A transform that moves with the camera carries the stamp of its image and is sent once: sent again with a later stamp
it would claim that the camera stands still. map -> odom hardly changes; it is sent again steadily, dated ahead.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import T_BODY_OPTICAL
from ttt3r_ros.ros import messages
from ttt3r_ros.ros.tf_messages import StaticTransformBroadcaster, transform_broadcaster
from ttt3r_ros.transforms.edges import Edge, correcting_edge, moving_edge

if TYPE_CHECKING:
    from rclpy.node import Node

    from ttt3r_ros.config import Config
    from ttt3r_ros.ros.robot_sensors import RobotSensors
    from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings
    from ttt3r_ros.types import Float64Array, Update

_SAME_CLOCK_NS = 10 * 10**9  # images and this node's clock farther apart than this tell different times
_LATENCY_NS = 1_000_000_000  # more than that, and images were held up


class TransformOutput:
    """Publishes the transforms of one body, as `tf_mode` says."""

    def __init__(
        self,
        node: Node,
        config: Config,
        robot: RobotSensors,
        warnings: ThrottledWarnings,
        map_frame: str,
    ) -> None:
        self.config = config
        self._robot = robot
        self._warnings = warnings
        self._map_frame = map_frame
        self._clock = node.get_clock()
        self._lock = threading.Lock()
        self._fixed: tuple[Float64Array, int, int] | None = (
            None  # T_map_odom, image stamp, our clock then
        )
        self._latest_ns = 0  # stamp of the last correcting edge
        self._checked_s: dict[str, float] = {}  # by child
        if not config.publish_tf or config.tf_mode == "none":
            self._moving = self._static = None
            return
        self._moving = transform_broadcaster(node)
        self._static = (
            StaticTransformBroadcaster(node) if config.camera_frame_convention == "body" else None
        )
        self._axes_sent: set[str] = set()
        if config.on_robot:
            node.create_timer(1.0 / config.tf_publish_rate, self._send_again)

    def reset(self) -> None:
        """Say no more what was true before time went back."""
        with self._lock:
            self._fixed = None
            self._latest_ns = 0

    def send(self, update: Update) -> None:
        """Publish what a frame brought; called by the worker."""
        if self._moving is None:
            return
        stamp_ns = update.frame.stamp_ns
        if self._static is not None:
            self._send_axes(update.frame.camera_frame, stamp_ns)
        body = self._robot.body_frame(update.frame.camera_frame)
        if (moving := moving_edge(self.config, update, self._map_frame, body)) is not None:
            self._send(moving, stamp_ns)
        if (correcting := correcting_edge(self.config, update, self._map_frame)) is not None:
            self._fix(correcting.T_parent_child, stamp_ns)

    def correct(self, T_map_map: Float64Array) -> None:
        """Move odom in the map (4, 4) at once, between two images."""
        with self._lock:
            if self._fixed is None:
                return
            T_map_odom, *times = self._fixed
            self._fixed = T_map_map @ T_map_odom, times[0], times[1]
        self._send_again()

    def _fix(self, T_map_odom: Float64Array, stamp_ns: int) -> None:
        with self._lock:
            self._fixed = T_map_odom, stamp_ns, self._clock.now().nanoseconds
        self._send_again()

    def _send_again(self) -> None:
        with self._lock:  # held until it is sent: the timer's stamps and the worker's must not cross
            if self._fixed is None:
                return
            T_map_odom, stamp_ns, then_ns = self._fixed
            now_ns = self._clock.now().nanoseconds
            if abs(then_ns - stamp_ns) < _SAME_CLOCK_NS:
                current_ns = max(now_ns, stamp_ns)
            else:
                current_ns = max(stamp_ns, stamp_ns + now_ns - then_ns)
            dated_ns = current_ns + int(self.config.transform_tolerance * 1e9)
            if 0 <= self._latest_ns - dated_ns < _LATENCY_NS:
                dated_ns = self._latest_ns + 1  # an image that took long to map is no step back in time
            self._latest_ns = dated_ns
            self._send(Edge(self._map_frame, self.config.odom_frame, T_map_odom), dated_ns)

    def _send(self, edge: Edge, stamp_ns: int) -> None:
        assert self._moving is not None
        parent, child, T = edge.inverted() if self.config.invert_odom_tf else edge
        self._warn_of_second_parent(parent, child)
        header = messages.make_header(stamp_ns, parent)
        self._moving([messages.transform_stamped(T, header, child)])

    def _send_axes(self, header_frame: str, stamp_ns: int) -> None:
        """Publish how the optical axes lie in a camera's body frame, once for each camera."""
        frame = self._robot.camera_frame(header_frame)
        if frame not in self._axes_sent and self._static is not None:
            self._axes_sent.add(frame)
            header = messages.make_header(stamp_ns, frame)
            optical = self._robot.optical_frame(header_frame)
            self._static.send([messages.transform_stamped(np.asarray(T_BODY_OPTICAL), header, optical)])

    def _warn_of_second_parent(self, parent: str, child: str) -> None:
        now_s = time.monotonic()
        if now_s - self._checked_s.get(child, 0.0) < 1.0:
            return
        self._checked_s[child] = now_s
        others = self._robot.transforms.parents_of(child) - {parent}
        if others:
            self._warnings.warn(
                f"{child} has two parents on /tf: {parent} from this node and {', '.join(sorted(others))} from another;"
                " choose another tf_mode, or publish_tf: false"
            )
