# SPDX-License-Identifier: Apache-2.0
"""Publish the node's transforms: one parent for each frame, jumps only in map -> odom (REP-105).

A transform of the camera has the stamp of its image and is sent once: with a later stamp it would state that the
camera has not moved. map -> odom changes slowly; it is repeated at a fixed rate with a stamp in the near future.
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

_SAME_CLOCK_NS = 10 * 10**9  # if stamps and the node's clock differ by more, they are different clocks
_MAX_LATENCY_NS = 10**9  # of an image; a larger step back is a time jump


class TransformOutput:
    """Publishes the transforms of one body that `tf_mode` selects."""

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
        # T_map_odom, stamp of its image, time of this node's clock at its reception
        self._correction: tuple[Float64Array, int, int] | None = None
        self._latest_ns = 0  # stamp of the last map -> odom
        self._checked_s: dict[str, float] = {}  # by child
        if not config.publish_tf or config.tf_mode == "none":
            self._broadcast = self._static = None
            return
        self._broadcast = transform_broadcaster(node)
        self._static = (
            StaticTransformBroadcaster(node) if config.camera_frame_convention == "body" else None
        )
        self._optical_frames_sent: set[str] = set()
        if config.on_robot:
            node.create_timer(1.0 / config.tf_publish_rate, self._publish_correction)

    def reset(self) -> None:
        """Stop repeating map -> odom of the time before a jump."""
        with self._lock:
            self._correction = None
            self._latest_ns = 0

    def publish(self, update: Update) -> None:
        """Publish the transforms of a frame; called on the worker thread."""
        if self._broadcast is None:
            return
        stamp_ns = update.frame.stamp_ns
        if self._static is not None:
            self._send_optical_frame(update.frame.camera_frame, stamp_ns)
        body = self._robot.mount.body_frame(update.frame.camera_frame)
        if (moving := moving_edge(self.config, update, self._map_frame, body)) is not None:
            self._send(moving, stamp_ns)
        if (correcting := correcting_edge(self.config, update, self._map_frame)) is not None:
            self._set_correction(correcting.T_parent_child, stamp_ns)

    def correct(self, T_map_map: Float64Array) -> None:
        """Apply a correction of odom in the map (4, 4) between two images."""
        with self._lock:
            if self._correction is None:
                return
            T_map_odom, *times = self._correction
            self._correction = T_map_map @ T_map_odom, times[0], times[1]
        self._publish_correction()

    def _set_correction(self, T_map_odom: Float64Array, stamp_ns: int) -> None:
        with self._lock:
            self._correction = T_map_odom, stamp_ns, self._clock.now().nanoseconds
        self._publish_correction()

    def _publish_correction(self) -> None:
        with self._lock:  # while sending too: stamps of timer and worker must be in order
            if self._correction is None:
                return
            T_map_odom, stamp_ns, received_ns = self._correction
            now_ns = self._clock.now().nanoseconds
            if abs(received_ns - stamp_ns) < _SAME_CLOCK_NS:
                current_ns = max(now_ns, stamp_ns)
            else:
                current_ns = max(stamp_ns, stamp_ns + now_ns - received_ns)
            stamp_out_ns = current_ns + int(self.config.transform_tolerance * 1e9)
            if 0 <= self._latest_ns - stamp_out_ns < _MAX_LATENCY_NS:
                stamp_out_ns = self._latest_ns + 1  # a slowly mapped image is not a step back in time
            self._latest_ns = stamp_out_ns
            self._send(Edge(self._map_frame, self.config.odom_frame, T_map_odom), stamp_out_ns)

    def _send(self, edge: Edge, stamp_ns: int) -> None:
        assert self._broadcast is not None
        parent, child, T = edge.invert() if self.config.invert_odom_tf else edge
        self._warn_second_parent(parent, child)
        header = messages.make_header(stamp_ns, parent)
        self._robot.sent_transforms.record(parent, child, stamp_ns)
        self._broadcast([messages.transform_stamped(T, header, child)])

    def _send_optical_frame(self, header_frame: str, stamp_ns: int) -> None:
        """Publish the optical frame of a camera in its body frame, once for each camera."""
        frame = self._robot.mount.camera_frame(header_frame)
        if frame not in self._optical_frames_sent and self._static is not None:
            self._optical_frames_sent.add(frame)
            header = messages.make_header(stamp_ns, frame)
            optical = self._robot.mount.optical_frame(header_frame)
            self._static.send([messages.transform_stamped(np.asarray(T_BODY_OPTICAL), header, optical)])

    def _warn_second_parent(self, parent: str, child: str) -> None:
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
