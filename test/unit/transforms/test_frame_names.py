# SPDX-License-Identifier: Apache-2.0
"""Configured frame names."""

from __future__ import annotations

import pytest

from ttt3r_ros.config import from_mapping
from ttt3r_ros.errors import ConfigError
from ttt3r_ros.transforms.frame_names import require_valid_frames

VALID: list[dict[str, str]] = [
    {},
    {"tf_mode": "odom_base"},
    {"tf_mode": "map_odom", "map_frame": "odom"},
    {"tf_mode": "map_odom", "camera_frame": "base_link"},
    {"tf_mode": "camera", "odom_frame": "base_link"},  # both unused
    {"map_frame": "robot1/map", "camera_frame": "robot1/camera"},
]
INVALID: list[dict[str, str]] = [
    {"map_frame": "/map"},
    {"camera_frame": "/camera/optical"},
    {"map_frame": ""},
    {"odom_frame": " ", "tf_mode": "none"},
    {"base_frame": "base\nlink"},
    {"map_frame": "map "},
    {"map_frame": "camera", "camera_frame": "camera"},
    {"tf_mode": "odom_base", "odom_frame": "base_link"},
    {"tf_mode": "map_odom", "map_frame": "base_link"},
    {"tf_mode": "map_odom", "camera_frame": "odom"},
]


@pytest.mark.parametrize("names", VALID)
def test_frames_of_one_tree_are_accepted(names: dict[str, str]) -> None:
    require_valid_frames(from_mapping(names))


@pytest.mark.parametrize("names", INVALID)
def test_frames_that_tf2_refuses_are_refused_with_their_value(names: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        require_valid_frames(from_mapping(names))
    assert any(
        name in str(caught.value) and repr(frame) in str(caught.value) for name, frame in names.items()
    )
