# SPDX-License-Identifier: Apache-2.0
"""Transforms of one frame according to `tf_mode`, for /tf of the node and of output bags."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ttt3r_ros.geometry import se3_inverse

if TYPE_CHECKING:
    from ttt3r_ros.config import Config
    from ttt3r_ros.types import Float64Array, Update


class Edge(NamedTuple):
    """A transform between two frames."""

    parent: str
    child: str
    T_parent_child: Float64Array  # (4, 4)

    def invert(self) -> Edge:
        """Return the inverse transform, from child to parent."""
        return Edge(self.child, self.parent, se3_inverse(self.T_parent_child))


def body_edge(config: Config, update: Update, map_frame: str, body_frame: str) -> Edge:
    """Return the pose of the body: in odom if the camera is the robot's odometry, else in the map."""
    if config.tf_mode == "odom_base":
        return Edge(config.odom_frame, body_frame, update.T_odom_base)
    return Edge(map_frame, body_frame, update.T_map_base)


def moving_edge(config: Config, update: Update, map_frame: str, body_frame: str) -> Edge | None:
    """Return the transform that moves with the body; None if this node does not publish it."""
    if config.tf_mode not in ("camera", "odom_base"):
        return None
    return body_edge(config, update, map_frame, body_frame)


def correcting_edge(config: Config, update: Update, map_frame: str) -> Edge | None:
    """Return map -> odom; None if it does not exist, is unknown, or is published by another node."""
    if map_frame == config.odom_frame:
        return None
    if config.tf_mode == "odom_base":
        return Edge(map_frame, config.odom_frame, update.T_map_odom)
    if config.tf_mode == "map_odom" and update.T_ext_odom_base is not None:
        T_map_odom = update.T_map_base @ se3_inverse(update.T_ext_odom_base)
        return Edge(map_frame, config.odom_frame, T_map_odom)
    return None
