# SPDX-License-Identifier: Apache-2.0
"""Quality-of-service profiles, by purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_profile_system_default,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

if TYPE_CHECKING:
    from ttt3r_ros.ros.statistics import Statistics
    from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings

# What is computed per frame: reliable, so that both kinds of subscriber match (REP-2003).
STREAM = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=5,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.VOLATILE,
)

# Maps: late joiners get the last one (REP-2003).
LATCHED = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)

_NEWEST_IMAGE = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=QoSReliabilityPolicy.BEST_EFFORT,
    durability=QoSDurabilityPolicy.VOLATILE,
)
_EVERY_IMAGE = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=10,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.VOLATILE,
)

_ALL_IMAGES = QoSProfile(  # nothing is dropped: a reliable sender waits when we are slow
    history=QoSHistoryPolicy.KEEP_ALL,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.VOLATILE,
)

_PROFILES = {
    "sensor_data": _NEWEST_IMAGE,
    "reliable": _EVERY_IMAGE,
    "system_default": qos_profile_system_default,
}


def image_profile(image_qos: str, queue_policy: str) -> QoSProfile:
    """Return the profile of the image subscription."""
    return _ALL_IMAGES if queue_policy == "keep_all" else _PROFILES[image_qos]


def overridable() -> QoSOverridingOptions:
    """Return options that make a topic's QoS a parameter: ``qos_overrides./topic.subscription.reliability``."""
    return QoSOverridingOptions.with_default_policies()


def image_events(warnings: ThrottledWarnings, statistics: Statistics) -> SubscriptionEventCallbacks:
    """Return what to do when images cannot match or were lost on their way."""

    def incompatible(event: Any) -> None:
        policy = getattr(event.last_policy_kind, "name", event.last_policy_kind)
        warnings.warn(
            f"waiting for images: a publisher offers another {policy} than is asked for; try image_qos:=sensor_data"
        )

    def lost(event: Any) -> None:
        statistics.count("lost", event.total_count_change)

    return SubscriptionEventCallbacks(incompatible_qos=incompatible, message_lost=lost)


def mismatch(offered: QoSProfile, asked: QoSProfile) -> str:
    """Return why a publisher's messages never reach a subscription and what helps; empty if they do."""
    if (
        asked.reliability == QoSReliabilityPolicy.RELIABLE
        and offered.reliability == QoSReliabilityPolicy.BEST_EFFORT
    ):
        return "it is sent best effort and asked for reliable; try image_qos:=sensor_data"
    if (
        asked.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
        and offered.durability == QoSDurabilityPolicy.VOLATILE
    ):
        return "it is sent volatile and asked for transient local"
    return ""
