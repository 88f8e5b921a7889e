# SPDX-License-Identifier: Apache-2.0
"""Settings of the middleware that every entry point of this package uses."""

from __future__ import annotations

import os
from pathlib import Path

# Fast DDS 2 and 3 look under different names.
_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
PROFILE = Path(__file__).with_name("fastdds_profile.xml")


def use_large_image_profile() -> None:
    """Let Fast DDS carry images best effort; call before rclpy.init. A profile of the user's own wins."""
    if not any(os.environ.get(name) for name in _PROFILE_VARIABLES):
        for name in _PROFILE_VARIABLES:
            os.environ[name] = str(PROFILE)


def isolate() -> None:
    """Keep to this machine and a domain of our own: nobody else's images, and nobody else gets ours."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if os.environ.get("ROS_DISTRO") == "humble":  # the last to know this variable alone
        os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")
    os.environ.setdefault("ROS_DOMAIN_ID", str(50 + os.getpid() % 50))
