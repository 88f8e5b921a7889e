# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 node: lifecycle, parameters, process exit."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.utilities import ok, try_shutdown

from ttt3r_ros.errors import ConfigError, Ttt3rError, describe_error
from ttt3r_ros.model.runtime.loading import load_backend
from ttt3r_ros.ros import compat, log_bridge, parameters
from ttt3r_ros.ros.address_space import require_address_space
from ttt3r_ros.ros.created_entities import CreatedEntities
from ttt3r_ros.ros.guarded_node import GuardedNode
from ttt3r_ros.ros.mapping_runtime import MappingRuntime
from ttt3r_ros.ros.middleware import use_large_image_profile
from ttt3r_ros.ros.parameter_overrides import warn_unused
from ttt3r_ros.ros.services import NodeServices
from ttt3r_ros.ros.startup_monitor import StartupMonitor
from ttt3r_ros.ros.transition_guard import guard_transitions
from ttt3r_ros.ros.worker_watchdog import WorkerError, WorkerWatchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.parameter import Parameter

    from ttt3r_ros.backend import AnyBackend

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_EXIT_TIMEOUT_S = 5.0  # after which a process is ended whose executor waits for a worker that hangs


class MappingNode(GuardedNode):
    """Unconfigured: parameters only. Inactive: network, outputs and services. Active: subscribed to the images."""

    def __init__(
        self,
        backend: AnyBackend | None = None,
        end_process: Callable[[int], object] = lambda _: None,
        **node_options: Any,
    ) -> None:
        """Create the node; ``end_process`` is called if the worker hangs and the executor waits for it."""
        super().__init__("mapping_node", **node_options)
        self._end_process = end_process
        self._watchdog: WorkerWatchdog | None = None
        self._log_handler = log_bridge.attach(self.get_logger())
        self._given_backend = backend
        self._closing = False
        self._mapping: MappingRuntime | None = None
        self._entities: CreatedEntities | None = None
        self.start_error: Ttt3rError | None = None
        self.failure: BaseException | None = None
        guard_transitions(self)
        try:
            self.config = parameters.declare(self)
            warn_unused(self, node_options.get("cli_args") or sys.argv)
        except ConfigError:
            self.destroy_node()
            raise
        self.add_on_set_parameters_callback(self._on_parameters)
        self.get_logger().info(compat.describe_providers())
        if self.config.autostart:
            self._autostart()

    @property
    def mapping(self) -> MappingRuntime:
        """Return the runtime, which exists while the node is configured."""
        assert self._mapping is not None
        return self._mapping

    def _autostart(self) -> None:
        for name, trigger in (
            ("configure", self.trigger_configure),
            ("activate", self.trigger_activate),
        ):
            if trigger() != _SUCCESS:
                error, self.start_error = self.start_error, None
                self.destroy_node()
                raise error or ConfigError(f"cannot {name}")

    # --- lifecycle --------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network; create outputs and services."""
        self._entities = CreatedEntities(self)
        try:
            backend, facts = (
                (self._given_backend, {})
                if self._given_backend is not None
                else load_backend(self.config)
            )
            self._mapping = MappingRuntime(self, self.config, backend, facts, self._on_failure)
            NodeServices(self, self._mapping)
            StartupMonitor(self, self._mapping)
            require_address_space()
            return super().on_configure(state)
        except Exception as error:  # rclpy drops it, and the next transition fails for another reason
            self._release()
            return self._fail("configure", error)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the images."""
        try:
            self.mapping.start()
        except Exception as error:  # as in `on_configure`
            self.mapping.stop()
            return self._fail("activate", error)
        assert self.mapping.worker is not None
        self._watchdog = WorkerWatchdog(
            self.mapping.worker, self.config.worker_timeout, self._on_worker_failure
        )
        self._watchdog.start()
        topics = ", ".join(subscriber.subscription.topic_name for subscriber in self.mapping.subscribers)
        self.get_logger().info(f"ready; images are expected on {topics}")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe from the images; state and map stay."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release network, state and map."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, from any state."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured, from where the node can be configured again."""
        self._release()
        return super().on_error(state)

    def _release(self) -> None:
        self._stop()
        if self._mapping is not None:
            self._mapping.viewer.close()
            self._mapping = None
        if self._entities is not None:
            self._entities.destroy()
            self._entities = None

    def _stop(self) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None
        if self._mapping is not None:
            self._mapping.stop()

    def _fail(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        if not isinstance(error, Ttt3rError):
            self.get_logger().debug("".join(traceback.format_exception(error)))
            error = ConfigError(describe_error(error))
        self.start_error = error
        if not self.config.autostart:  # with autostart main prints the error
            self.get_logger().error(f"cannot {transition}: {error}")
        return _FAILURE

    def _on_failure(self, error: BaseException) -> None:
        if self._closing or not self.context.ok():
            return  # shut down during a frame: its publishers are gone
        self.failure = error
        if isinstance(error, WorkerError):
            self.get_logger().fatal(f"mapping stopped: {error}")
        else:
            trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            self.get_logger().fatal(f"mapping stopped: {type(error).__name__}: {error}\n{trace}")
        self.context.try_shutdown()

    def _on_worker_failure(self, error: BaseException) -> None:
        """End the process; called on the thread of the watchdog."""
        self._on_failure(error)
        threading.Event().wait(
            _EXIT_TIMEOUT_S
        )  # a service may wait for the worker: then `spin` does not return
        self._end_process(1)

    # --- parameters ---------------------------------------------------------------------------------

    def _on_parameters(self, changed: list[Parameter]) -> SetParametersResult:
        try:
            config = parameters.apply_changes(self.config, changed)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if config != self.config:
            self.config = config
            if self._mapping is not None:
                self._mapping.configure(config)
        return SetParametersResult(successful=True)

    def destroy_node(self) -> None:
        """Finish the current frame, then destroy the node."""
        self._closing = True
        self._stop()
        if self._mapping is not None:
            self._mapping.viewer.close()
        log_bridge.detach(self._log_handler)
        super().destroy_node()


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; return the exit status."""
    use_large_image_profile()
    is_initialized, node = False, None
    try:
        rclpy.init(args=args)
        is_initialized = True
        rclpy.get_global_executor()  # created here: after "ready" an interrupt may come at any time
        node = MappingNode(end_process=os._exit)
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception as error:
        if node is not None and ok():
            raise
        if (
            ok() or not is_initialized
        ):  # otherwise rclpy reports only that it was shut down during the start
            print(f"mapping_node: {describe_error(error)}", file=sys.stderr)  # noqa: T201 - a failed start
            return 1
    finally:
        # Launch and terminals often send a second SIGINT, which must not interrupt the cleanup.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node is not None and isinstance(node.failure, WorkerError):
            os._exit(1)  # the worker hangs: it cannot be joined
        if node is not None:
            node.destroy_node()
        try_shutdown()
    return 1 if node is not None and node.failure is not None else 0


if __name__ == "__main__":
    sys.exit(main())
