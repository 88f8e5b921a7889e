# SPDX-License-Identifier: Apache-2.0
"""Call Trigger services of a node in turn; unlike ``ros2 service call``, a refusal is the exit status 1.

``python -m ttt3r_ros.ros.harness.trigger_call /mapping_node save_map save_trajectory``
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.utilities import try_shutdown
from std_srvs.srv import Trigger

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.task import Future

_FIRST_RETRY_S = 10.0  # the first response to a new client can be lost in discovery; doubled each time


def main(words: list[str]) -> int:
    """Call the services, also after a refusal; return 0 if every one succeeded."""
    owner, *services = words
    rclpy.init(args=[])
    node = rclpy.create_node("trigger_call")
    try:
        succeeded = [_call(node, f"{owner}/{service}") for service in services]
    except (KeyboardInterrupt, ExternalShutdownException):
        return 1
    else:
        return 0 if all(succeeded) else 1
    finally:
        node.destroy_node()
        try_shutdown()


def _call(node: Node, service: str) -> bool:
    client = node.create_client(Trigger, service)
    client.wait_for_service()
    calls: list[Future] = []
    retry_s = _FIRST_RETRY_S
    while not any(future.done() for future in calls):
        calls.append(client.call_async(Trigger.Request()))
        rclpy.spin_until_future_complete(node, calls[-1], timeout_sec=retry_s)
        retry_s *= 2.0
    response = next(future for future in calls if future.done()).result()
    stream = sys.stdout if response.success else sys.stderr
    print(f"{service}: {response.message}", file=stream, flush=True)
    return bool(response.success)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
