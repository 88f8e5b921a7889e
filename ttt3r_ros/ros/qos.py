# SPDX-License-Identifier: Apache-2.0
"""Quality-of-service profiles, and reports of incompatible ones."""

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
    from collections.abc import Callable

    from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings

# Outputs of each frame: reliable, so that reliable and best-effort subscribers match (REP-2003).
STREAM = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=5,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.VOLATILE,
)

# Maps: a late subscriber receives the last one (REP-2003).
LATCHED = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)

# Transforms, as in tf2_ros. A broadcaster of static transforms repeats all of them in each message.
TF = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=100,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.VOLATILE,
)
STATIC_TF = LATCHED
STATIC_TF_SUBSCRIPTION = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=100,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)

_BEST_EFFORT = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=QoSReliabilityPolicy.BEST_EFFORT,
    durability=QoSDurabilityPolicy.VOLATILE,
)
_RELIABLE = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=10,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.VOLATILE,
)

_KEEP_ALL = QoSProfile(  # back-pressure: a reliable publisher blocks while this node is slow
    history=QoSHistoryPolicy.KEEP_ALL,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.VOLATILE,
)

_PROFILES = {
    "sensor_data": _BEST_EFFORT,
    "reliable": _RELIABLE,
    "system_default": qos_profile_system_default,
}


def image_profile(image_qos: str, queue_policy: str) -> QoSProfile:
    """Return the QoS of the image subscription."""
    return _KEEP_ALL if queue_policy == "keep_all" else _PROFILES[image_qos]


def overridable() -> QoSOverridingOptions:
    """Return options that make a topic's QoS a parameter: ``qos_overrides./topic.subscription.reliability``."""
    return QoSOverridingOptions.with_default_policies()


def image_events(
    warnings: ThrottledWarnings, on_lost: Callable[[int], None]
) -> SubscriptionEventCallbacks:
    """Return callbacks that report incompatible QoS and the number of lost images."""

    def incompatible(event: Any) -> None:
        policy = getattr(event.last_policy_kind, "name", event.last_policy_kind)
        warnings.warn(
            f"waiting for images: a publisher offers an incompatible {policy}; try image_qos:=sensor_data"
        )

    def lost(event: Any) -> None:
        on_lost(event.total_count_change)

    return SubscriptionEventCallbacks(incompatible_qos=incompatible, message_lost=lost)


def find_mismatch(offered: QoSProfile, requested: QoSProfile) -> str:
    """Return why a publisher and a subscription are incompatible, and a remedy; empty if they are compatible."""
    if (
        requested.reliability == QoSReliabilityPolicy.RELIABLE
        and offered.reliability == QoSReliabilityPolicy.BEST_EFFORT
    ):
        return "the publisher is best effort, the subscription reliable; try image_qos:=sensor_data"
    if (
        requested.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
        and offered.durability == QoSDurabilityPolicy.VOLATILE
    ):
        return "the publisher is volatile, the subscription transient local"
    return ""
