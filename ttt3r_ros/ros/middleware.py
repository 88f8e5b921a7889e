# SPDX-License-Identifier: Apache-2.0
"""Middleware settings shared by all entry points."""

from __future__ import annotations

import os
from pathlib import Path

# Fast DDS 2 and 3 read different variables.
_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
PROFILE = Path(__file__).with_name("fastdds_profile.xml")


def use_large_image_profile() -> None:
    """Set the Fast DDS profile for large best-effort images, unless the user has set one; call before rclpy.init."""
    os.environ.update(missing_profile_variables())


def missing_profile_variables() -> dict[str, str]:
    """Return the variables to set: a profile of the user for one version of Fast DDS applies to the other, too."""
    given = [path for name in _PROFILE_VARIABLES if (path := os.environ.get(name))]
    profile = given[0] if given else str(PROFILE)
    return {name: profile for name in _PROFILE_VARIABLES if not os.environ.get(name)}


def isolate() -> None:
    """Restrict discovery to this machine and choose a domain by process id, unless the user has set them."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if os.environ.get("ROS_DISTRO") == "humble":  # Humble has no other variable for it
        os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")
    os.environ.setdefault("ROS_DOMAIN_ID", str(50 + os.getpid() % 50))
