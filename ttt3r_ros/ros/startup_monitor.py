# SPDX-License-Identifier: Apache-2.0
"""Log why no images arrive: no publisher, incompatible QoS, or a silent publisher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttt3r_ros.ros.qos import find_mismatch

if TYPE_CHECKING:
    from rclpy.node import Node

    from ttt3r_ros.ros.image_subscriber import ImageSubscriber
    from ttt3r_ros.ros.mapping_runtime import MappingRuntime

PERIOD_S = 5.0
_IMAGE_TYPES = {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"}


class StartupMonitor:
    """Checks periodically until every camera has sent an image."""

    def __init__(self, node: Node, mapping: MappingRuntime) -> None:
        self._node = node
        self._mapping = mapping
        node.create_timer(PERIOD_S, self._check)

    def _check(self) -> None:
        silent = [subscriber for subscriber in self._mapping.subscribers if not subscriber.received]
        for subscriber in silent:
            topic, reason = subscriber.subscription.topic_name, self._reason(subscriber)
            self._node.get_logger().warning(f"waiting for images on {topic}: {reason}")
        if silent:
            self._warn_duplicate_node()

    def _reason(self, subscriber: ImageSubscriber) -> str:
        topic = subscriber.subscription.topic_name
        publishers = self._node.get_publishers_info_by_topic(topic)
        if not publishers:
            return f"it has no publisher; {self._suggest_topics(topic)}"
        requested = subscriber.subscription.qos_profile
        reasons = [
            reason for info in publishers if (reason := find_mismatch(info.qos_profile, requested))
        ]
        if reasons:
            return reasons[0]
        return f"it has {len(publishers)} publisher(s), but no messages; is the publisher paused?"

    def _suggest_topics(self, topic: str) -> str:
        own = self._node.get_fully_qualified_name()
        others = [
            name
            for name, types in self._node.get_topic_names_and_types()
            if _IMAGE_TYPES & set(types)
            and name != topic
            and not name.startswith(own)
            and self._node.count_publishers(name)
        ]
        if not others:
            return "remap `image` to the camera's topic"
        return f"images are published on {', '.join(sorted(others)[:5])}: remap `image` (image_topic:=)"

    def _warn_duplicate_node(self) -> None:
        own = (self._node.get_name(), self._node.get_namespace())
        count = self._node.get_node_names_and_namespaces().count(own)
        if count > 1:
            self._node.get_logger().warning(
                f"{count} nodes have the name {self._node.get_fully_qualified_name()} and publish the same topics and"
                " transforms; give one of them another name or namespace"
            )
