# SPDX-License-Identifier: Apache-2.0
"""Services and the topic initialpose of the running node."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from ttt3r_ros.errors import OutputError, SourceError
from ttt3r_ros.ros import messages
from ttt3r_ros.ros.result_files import ResultFiles
from ttt3r_ros.transforms.tree import TransformError

if TYPE_CHECKING:
    from rclpy.node import Node

    from ttt3r_ros.ros.mapped_camera import TrackedBody
    from ttt3r_ros.ros.mapping_runtime import MappingRuntime

_Callback = Callable[[Trigger.Request, Trigger.Response], Trigger.Response]
_AsyncCallback = Callable[[Trigger.Request, Trigger.Response], Coroutine[Any, Any, Trigger.Response]]


class NodeServices:
    """Services of the node. A response has a message with the result or the reason of the failure."""

    def __init__(self, node: Node, mapping: MappingRuntime) -> None:
        self._log = node.get_logger()
        self._mapping = mapping
        actions: dict[str, Callable[[], str]] = {
            "~/reset": self._reset,
            "~/pause": self._pause,
            "~/resume": self._resume,
            "~/clear_map": self._clear_map,
            "~/load_state": self._load_state,
        }
        saves: dict[str, Callable[[], str]] = {
            "~/save_map": lambda: self._for_each_body(lambda body: body.files.save_map()),
            "~/save_trajectory": lambda: self._for_each_body(lambda body: body.files.save_trajectory()),
            "~/save_state": self._save_state,
        }
        for name, action in actions.items():
            node.create_service(Trigger, name, self._create_callback(action))
        reentrant = ReentrantCallbackGroup()  # other callbacks run while a save waits for queued images
        for name, save in saves.items():
            callback = self._create_drained_callback(self._create_callback(save))
            node.create_service(Trigger, name, callback, callback_group=reentrant)
        node.create_subscription(PoseWithCovarianceStamped, "initialpose", self._set_pose, 1)

    def _create_callback(self, action: Callable[[], str]) -> _Callback:
        """Return a service callback that runs an action and responds with its message or error."""

        def callback(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                response.message = action()
            except (OutputError, SourceError) as error:
                return self._fail(response, str(error))
            except Exception as error:
                return self._fail(response, f"unexpected {type(error).__name__}: {error}")
            response.success = True
            self._log.info(response.message)
            return response

        return callback

    def _fail(self, response: Trigger.Response, reason: str) -> Trigger.Response:
        response.success, response.message = False, reason
        self._log.error(reason)
        return response

    def _create_drained_callback(self, respond: _Callback) -> _AsyncCallback:
        async def callback(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                await self._mapping.wait_until_drained()
            except Exception as error:
                return self._fail(response, f"unexpected {type(error).__name__}: {error}")
            return respond(request, response)

        return callback

    def _reset(self) -> str:
        self._mapping.reset()
        return "reset: state, trajectory and map cleared"

    def _pause(self) -> str:
        self._mapping.pause(paused=True)
        return "paused: images are dropped until resume"

    def _resume(self) -> str:
        self._mapping.pause(paused=False)
        return "resumed"

    def _clear_map(self) -> str:
        with self._mapping.stepping:
            for body in self._mapping.bodies:
                body.reconstructor.map.clear()
        return "map cleared; state and trajectory kept"

    def _save_state(self) -> str:
        with self._mapping.stepping:
            return self._for_each_body(lambda body: body.files.save_state())

    def _load_state(self) -> str:
        with self._mapping.stepping:
            message = ResultFiles.load_states([body.files for body in self._mapping.bodies])
            self._mapping.start_new_session()
            return message

    def _for_each_body(self, act: Callable[[TrackedBody], str]) -> str:
        """Act on every body, also after a failure; raise OutputError with all messages if one failed."""
        reports, failed = [], False
        for body in self._mapping.bodies:
            try:
                reports.append(act(body))
            except OutputError as error:  # noqa: PERF203 - the other bodies are saved
                reports.append(str(error))
                failed = True
        if failed:
            raise OutputError("; ".join(reports))
        return "; ".join(reports)

    def _set_pose(self, msg: PoseWithCovarianceStamped) -> None:
        mapping = self._mapping
        map_frame, frame = mapping.bodies[0].map_frame, msg.header.frame_id.lstrip("/")
        try:
            T = messages.matrix_from_pose(msg.pose.pose)
            if frame not in ("", map_frame):
                T = mapping.sensors.transforms.lookup(map_frame, frame, None) @ T
            mapping.set_pose(T)
        except (ValueError, TransformError) as error:
            self._log.warning(f"initialpose refused: {error}")
            return
        x, y, z = T[:3, 3]
        self._log.info(f"pose set by initialpose: {x:.2f} {y:.2f} {z:.2f} in {map_frame}")
