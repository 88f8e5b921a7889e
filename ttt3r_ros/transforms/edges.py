# SPDX-License-Identifier: Apache-2.0
"""Which transforms a frame brings, as `tf_mode` says: the same for the node's /tf and for a bag's."""

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

    def inverted(self) -> Edge:
        """Return it the other way round."""
        return Edge(self.child, self.parent, se3_inverse(self.T_parent_child))


def body_edge(config: Config, update: Update, map_frame: str, body_frame: str) -> Edge:
    """Return where the body is: in odom if the camera is the robot's odometry, else in the map."""
    if config.tf_mode == "odom_base":
        return Edge(config.odom_frame, body_frame, update.T_odom_base)
    return Edge(map_frame, body_frame, update.T_map_base)


def moving_edge(config: Config, update: Update, map_frame: str, body_frame: str) -> Edge | None:
    """Return the transform that moves with the body; None where somebody else sends it, or nobody."""
    if config.tf_mode not in ("camera", "odom_base"):
        return None
    return body_edge(config, update, map_frame, body_frame)


def correcting_edge(config: Config, update: Update, map_frame: str) -> Edge | None:
    """Return map -> odom; None where there is none, it is not known, or somebody else owns the map."""
    if map_frame == config.odom_frame:
        return None
    if config.tf_mode == "odom_base":
        return Edge(map_frame, config.odom_frame, update.T_map_odom)
    if config.tf_mode == "map_odom" and update.T_ext_odom_base is not None:
        T_map_odom = update.T_map_base @ se3_inverse(update.T_ext_odom_base)
        return Edge(map_frame, config.odom_frame, T_map_odom)
    return None
