# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 node: images in; TF, pose, odometry, depth, clouds and a map out."""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.utilities import ok, try_shutdown
from std_srvs.srv import Trigger

from ttt3r_ros.errors import ImageError, NonFiniteError, OutputError, Ttt3rError
from ttt3r_ros.model.loading import device_memory_facts, load_backend
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.pipeline.worker import Worker
from ttt3r_ros.ros import compat, log_bridge, parameters
from ttt3r_ros.ros.diagnostics import diagnostic_array
from ttt3r_ros.ros.image_intake import ImageIntake
from ttt3r_ros.ros.middleware import use_large_image_profile
from ttt3r_ros.ros.publishers import FramePublishers, MapPublisher
from ttt3r_ros.ros.result_files import ResultFiles
from ttt3r_ros.ros.statistics import Statistics
from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.types import AnyBackend, Frame

_PATIENCE_S = 5.0  # without images, before the log says what is missing


@dataclass(frozen=True)
class _Job:
    """A frame on its way to the worker."""

    frame: Frame
    received_s: float  # perf_counter when its message was taken
    decode_s: float
    era: int


class MappingNode(Node):  # type: ignore[misc]
    """Converts and publishes; everything else happens in a `Reconstructor` on the worker thread."""

    def __init__(self, backend: AnyBackend | None = None, **node_options: Any) -> None:
        super().__init__("mapping_node", **node_options)
        self._log_handler = log_bridge.attach(self.get_logger())
        self.config = config = parameters.declare(self)
        self.get_logger().info(compat.describe_providers())
        backend, self._facts = (backend, {}) if backend is not None else load_backend(config)

        self.statistics = Statistics()
        self.reconstructor = Reconstructor(backend, config)
        self._files = ResultFiles(config.output_directory, self.reconstructor)
        self._warnings = ThrottledWarnings(self.get_logger())
        self._stepping = threading.Lock()  # held while a frame is processed or everything is forgotten
        self._era = 0  # counts resets
        self._closing = False
        self._newest_stamp_ns = 0
        self._outputs = FramePublishers(self, config)
        self._map_output = MapPublisher(self, config.map_frame, self.reconstructor.map)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.worker: Worker[_Job] = Worker(self._process, self._on_failure)
        self._create_services()
        self.create_timer(config.map.publish_period, self._publish_map)
        self.create_timer(config.diagnostics_period, self._publish_diagnostics)
        self._watch = self.create_timer(_PATIENCE_S, self._watch_over)

        # Subscribe last: everything an image needs is ready.
        self.worker.start()
        self._intake = ImageIntake(
            self, config, self.statistics, self._warnings, self._on_frame, self._on_time_jump
        )
        self.get_logger().info(f"ready; images are expected on {self._intake.subscription.topic_name}")

    # --- images -------------------------------------------------------------------------------------

    def _on_frame(self, frame: Frame, received_s: float) -> None:
        job = _Job(frame, received_s, time.perf_counter() - received_s, self._era)
        if self.worker.submit(job) is not None:
            self.statistics.count("dropped")

    def _process(self, job: _Job) -> None:
        """Run one frame; on the worker thread."""
        with self._stepping:
            if job.era != self._era:  # it came before the reset and must not open the new map
                self.statistics.count("dropped")
                return
            try:
                update = self.reconstructor.step(job.frame)
            except (ImageError, NonFiniteError) as error:
                self.statistics.count("skipped")
                self._warnings.warn(f"frame skipped: {error}")
                return
            if self._closing:  # the publishers may be gone by now
                return
            stepped = time.perf_counter()
            self._outputs.publish(update)
            self._newest_stamp_ns = job.frame.stamp_ns
        finished = time.perf_counter()
        own = {
            "decode": job.decode_s,
            "publish": finished - stepped,
            "latency": finished - job.received_s,
        }
        self.statistics.finish({**update.timings_s, **own})

    def _on_failure(self, error: BaseException) -> None:
        if not self._closing:
            trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            self.get_logger().fatal(f"mapping stopped: {type(error).__name__}: {error}\n{trace}")
            self.context.try_shutdown()

    def _restart(self) -> None:
        with self._stepping:
            self._era += 1
            self.reconstructor.restart()
            self._outputs.restart()

    def _on_time_jump(self) -> None:
        if len(self.reconstructor.trajectory):
            suffix = f"_until_{self._newest_stamp_ns}"
            for save in (self._files.save_trajectory, self._files.save_map):
                self._saved(Trigger.Response(), partial(save, suffix))
        self._restart()

    # --- timers -------------------------------------------------------------------------------------

    def _publish_map(self) -> None:
        if self._newest_stamp_ns:
            self._map_output.publish(self._newest_stamp_ns)

    def _publish_diagnostics(self) -> None:
        facts = {
            "segment": str(self.reconstructor.segment),
            "map_voxels": str(len(self.reconstructor.map)),
            "trajectory_poses": str(len(self.reconstructor.trajectory)),
            **self._facts,
            **device_memory_facts(self._facts.get("device", "cpu")),
        }
        stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name().lstrip("/")
        camera = self.config.camera_frame or self._intake.camera_frame
        self._diagnostics.publish(diagnostic_array(stamp, name, camera, self.statistics, facts))

    def _watch_over(self) -> None:
        self._warn_of_twins()
        if self.statistics.counts.received:
            self._watch.cancel()
            return
        topic = self._intake.subscription.topic_name
        publishers = self.count_publishers(topic)
        reason = "nobody publishes there; remap `image`"
        if publishers:
            reason = f"{publishers} publisher(s), but nothing arrives; try image_qos:=reliable, or is it paused?"
        self.get_logger().warning(f"waiting for images on {topic}: {reason}")

    def _warn_of_twins(self) -> None:
        own = (self.get_name(), self.get_namespace())
        count = self.get_node_names_and_namespaces().count(own)
        if count > 1:
            self.get_logger().warning(
                f"{count} nodes are named {self.get_fully_qualified_name()}: they publish the same topics and"
                " TF; give one of them another name or namespace"
            )

    # --- services -----------------------------------------------------------------------------------

    def _create_services(self) -> None:
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(Trigger, "~/save_map", lambda _, r: self._saved(r, self._files.save_map))
        self.create_service(
            Trigger, "~/save_trajectory", lambda _, r: self._saved(r, self._files.save_trajectory)
        )

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._restart()
        response.success, response.message = True, "state, trajectory and map begin anew"
        return response

    def _saved(self, response: Trigger.Response, save: Callable[[], str]) -> Trigger.Response:
        try:
            response.message = save()
        except OutputError as error:
            response.success, response.message = False, str(error)
            self.get_logger().error(response.message)
            return response
        response.success = True
        self.get_logger().info(response.message)
        return response

    def destroy_node(self) -> None:
        """Finish the running frame, then go."""
        self._closing = True
        if self.worker.stop() is not None:
            self.statistics.count("dropped")
        log_bridge.detach(self._log_handler)
        super().destroy_node()


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; return the exit status."""
    use_large_image_profile()
    rclpy.init(args=args)
    node = None
    try:
        node = MappingNode()
        rclpy.spin(node)
    except Ttt3rError as error:
        print(f"mapping_node: {error}", file=sys.stderr)  # noqa: T201 - the one readable line of a failed start
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if ok():  # otherwise rclpy only says that it was told to end while the node was starting
            raise
    finally:
        # A second Ctrl-C, which launch and terminals like to send, must not interrupt the tidying up.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node is not None:
            node.destroy_node()
        try_shutdown()
    return 1 if node is not None and node.worker.failure is not None else 0


if __name__ == "__main__":
    sys.exit(main())
