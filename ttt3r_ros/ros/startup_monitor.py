# SPDX-License-Identifier: Apache-2.0
"""Log why no images arrive, and that images of several publishers arrive on one topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttt3r_ros.ros.clock_problem import find_clock_problem
from ttt3r_ros.ros.image_topics import SUFFIX, TRANSPORTS, type_name
from ttt3r_ros.ros.publishers import camera_topic
from ttt3r_ros.ros.qos import find_mismatch
from ttt3r_ros.ros.sent_transforms import node_name
from ttt3r_ros.ros.steady_timer import create_steady_timer

if TYPE_CHECKING:
    from rclpy.node import Node

    from ttt3r_ros.ros.image_subscriber import ImageSubscriber
    from ttt3r_ros.ros.mapping_runtime import MappingRuntime

PERIOD_S = 5.0
_MAX_NAMES = 5


class StartupMonitor:
    """Checks periodically, on the steady clock, the images of every camera and the node's time."""

    def __init__(self, node: Node, mapping: MappingRuntime) -> None:
        self._node = node
        self._mapping = mapping
        create_steady_timer(node, PERIOD_S, self._check)

    def _check(self) -> None:
        log = self._node.get_logger()
        if problem := find_clock_problem(self._node):
            log.warning(problem)
        for subscriber in self._mapping.subscribers:
            self._warn_several_publishers(subscriber)
        silent = [subscriber for subscriber in self._mapping.subscribers if not subscriber.received]
        for subscriber in silent:
            topic, reason = subscriber.subscription.topic_name, self._reason(subscriber)
            log.warning(f"waiting for images on {topic}: {reason}")
        if silent:
            self._warn_duplicate_node()

    def _warn_several_publishers(self, subscriber: ImageSubscriber) -> None:
        topic = subscriber.subscription.topic_name
        own_type = type_name(subscriber.transport)
        infos = self._node.get_publishers_info_by_topic(topic)
        nodes = sorted(node_name(info) for info in infos if info.topic_type == own_type)
        if len(nodes) > 1:
            self._mapping.warnings.warn_once(
                f"publishers of {topic}",
                f"{topic} has {len(nodes)} publishers of images, {', '.join(nodes[:_MAX_NAMES])}: their images are"
                " mapped as those of one camera; stop one, or give each a topic of its own and name them in `cameras`",
            )

    def _reason(self, subscriber: ImageSubscriber) -> str:
        topic, expected = subscriber.subscription.topic_name, type_name(subscriber.transport)
        infos = self._node.get_publishers_info_by_topic(topic)
        if not infos:
            return f"it has no publisher; {self._suggest(subscriber)}"
        fitting = [info for info in infos if info.topic_type == expected]
        if not fitting:
            found = infos[0].topic_type
            return f"{node_name(infos[0])} publishes {found} there, not {expected}; " + (
                self._setting(subscriber, topic, TRANSPORTS[found])
                if found in TRANSPORTS
                else "convert it with `ros2 run image_transport republish`, or remap to another topic"
            )
        requested = subscriber.subscription.qos_profile
        reasons = [reason for info in fitting if (reason := find_mismatch(info.qos_profile, requested))]
        if reasons:
            return reasons[0]
        if lost := self._mapping.statistics.counts.lost:
            return f"the middleware lost {lost} images; larger socket buffers help (net.core.rmem_max)"
        return f"it has {len(fitting)} publisher(s), but no messages; is the publisher paused?"

    def _setting(self, subscriber: ImageSubscriber, topic: str, transport: str) -> str:
        """Return the settings with which the images on a topic are received."""
        base = camera_topic("image", subscriber.name)
        name = base + SUFFIX if transport == "compressed" else base
        switch = "" if transport == subscriber.transport else f"set image_transport:={transport}"
        if transport == "compressed" and topic == self._node.resolve_topic_name(base) + SUFFIX:
            return switch
        if self._node.resolve_topic_name(name) == topic:
            return switch
        remap = f"remap `{name}` to {topic}"
        return f"{switch} and {remap}" if switch else remap

    def _suggest(self, subscriber: ImageSubscriber) -> str:
        node, own = self._node, self._node.get_fully_qualified_name()
        topics = {
            name: TRANSPORTS[kind]
            for name, kinds in node.get_topic_names_and_types()
            for kind in kinds
            if kind in TRANSPORTS and not name.startswith(f"{own}/") and node.count_publishers(name)
        }
        # The other transport of the same camera is no guess.
        topic = subscriber.subscription.topic_name
        sibling = topic.removesuffix(SUFFIX) if topic.endswith(SUFFIX) else topic + SUFFIX
        if sibling in topics:
            kind = "compressed" if topics[sibling] == "compressed" else "raw"
            return f"only {kind} images are published, on {sibling}: {self._setting(subscriber, sibling, kind)}"
        if topics:
            first = [
                f"{name} ({transport}): {self._setting(subscriber, name, transport)}"
                for name, transport in sorted(topics.items())[:_MAX_NAMES]
            ]
            return f"images are published on {'; '.join(first)} (launch files: image_topic:=)"
        return self._describe_graph()

    def _describe_graph(self) -> str:
        own = (self._node.get_name(), self._node.get_namespace())
        others = sorted(
            f"{namespace.rstrip('/')}/{name}"
            for name, namespace in self._node.get_node_names_and_namespaces()
            if (name, namespace) != own and not name.startswith("_")
        )
        if others:
            return f"no node publishes images, of {', '.join(others[:_MAX_NAMES])}; is the camera's driver running?"
        return (
            f"no other node is visible in ROS_DOMAIN_ID {self._node.context.get_domain_id()}: ROS_DOMAIN_ID,"
            " ROS_AUTOMATIC_DISCOVERY_RANGE (Humble: ROS_LOCALHOST_ONLY) and RMW_IMPLEMENTATION must be those of the"
            " camera's driver"
        )

    def _warn_duplicate_node(self) -> None:
        own = (self._node.get_name(), self._node.get_namespace())
        count = self._node.get_node_names_and_namespaces().count(own)
        if count > 1:
            self._node.get_logger().warning(
                f"{count} nodes have the name {self._node.get_fully_qualified_name()} and publish the same topics and"
                " transforms; give one of them another name or namespace"
            )
