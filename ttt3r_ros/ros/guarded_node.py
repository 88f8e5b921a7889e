# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node that continues after an exception in a subscription or timer callback.

rclpy raises the exception in `spin`, so that one hostile message ends the process. This includes rclpy's own callback
of /clock, which raises on a negative time.
"""

from __future__ import annotations

from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any

from rclpy.lifecycle import LifecycleNode

from ttt3r_ros.errors import describe_error
from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.subscription import Subscription
    from rclpy.timer import Timer


class GuardedNode(LifecycleNode):  # type: ignore[misc]
    """Logs an exception of a callback as one line with the topic; the message that caused it has no effect."""

    @cached_property
    def warnings(self) -> ThrottledWarnings:
        """Return the node's throttled warnings."""
        return ThrottledWarnings(self.get_logger())

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Callable[..., None], *args: Any, **kwargs: Any
    ) -> Subscription:
        """Create a subscription whose callback cannot end the process."""
        guarded = self._guard(f"a message on {topic} was refused", callback)
        return super().create_subscription(msg_type, topic, guarded, *args, **kwargs)

    def create_timer(
        self, timer_period_sec: float, callback: Callable[..., None], *args: Any, **kwargs: Any
    ) -> Timer:
        """Create a timer whose callback cannot end the process."""
        name = getattr(callback, "__qualname__", "timer").rpartition(".")[2].lstrip("_")
        return super().create_timer(
            timer_period_sec, self._guard(f"{name} failed", callback), *args, **kwargs
        )

    def _guard(self, what: str, callback: Callable[..., None]) -> Callable[..., None]:
        @wraps(callback)
        def call(*args: Any) -> None:
            try:
                callback(*args)
            except Exception as error:
                if not self.context.ok():
                    raise  # shut down during the callback: publishers and clock are gone
                self.warnings.warn(f"{what}: {describe_error(error)}", kind=what)

        return call
