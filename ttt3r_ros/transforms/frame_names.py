# SPDX-License-Identifier: Apache-2.0
"""Validation of the configured frame names: tf2 requires one tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttt3r_ros.errors import ConfigError, short_text

if TYPE_CHECKING:
    from ttt3r_ros.config import Config


def require_valid_frames(config: Config) -> None:
    """Raise `ConfigError` if a frame name is invalid in tf2, or if the transforms of `tf_mode` have a loop."""
    names = {
        name: getattr(config, name) for name in ("map_frame", "odom_frame", "base_frame", "camera_frame")
    }
    for setting, frame in names.items():
        if frame.startswith("/"):
            msg = f"{setting} is {short_text(frame)}; tf2 has no leading slash, expected '{frame.lstrip('/')}'"
            raise ConfigError(msg)
        if not frame.strip() and setting != "camera_frame":
            msg = f"{setting} is {short_text(frame)}; expected the name of a frame"
            raise ConfigError(msg)
        if frame != frame.strip() or not frame.isprintable():
            msg = f"{setting} is {short_text(frame)}; expected a name without surrounding spaces or control characters"
            raise ConfigError(msg)
    # Each pair is connected by a transform; map_frame may equal odom_frame, and base_frame camera_frame.
    pairs = [("map_frame", "camera_frame")]
    if config.on_robot:
        pairs += [
            ("map_frame", "base_frame"),
            ("odom_frame", "base_frame"),
            ("odom_frame", "camera_frame"),
        ]
    for first, second in pairs:
        if names[first] == names[second]:
            msg = f"{first} and {second} are both {short_text(names[first])}; expected two different frames"
            raise ConfigError(msg)
