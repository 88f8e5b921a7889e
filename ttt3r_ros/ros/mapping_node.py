# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 node: images in; TF, pose, odometry, depth, clouds and a map out."""

from __future__ import annotations

import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.utilities import try_shutdown
from std_srvs.srv import Trigger

from ttt3r_ros.errors import ImageError, NonFiniteError, OutputError, Ttt3rError
from ttt3r_ros.io.writers import write_ply, write_tum
from ttt3r_ros.model.loading import load_backend
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.pipeline.worker import Worker
from ttt3r_ros.ros import compat, log_bridge, parameters
from ttt3r_ros.ros.diagnostics import diagnostic_array
from ttt3r_ros.ros.image_intake import ImageIntake
from ttt3r_ros.ros.middleware import use_large_image_profile
from ttt3r_ros.ros.publishers import FramePublishers, MapPublisher
from ttt3r_ros.ros.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.types import AnyBackend, Frame

_PATIENCE_S = 5.0  # without images, before the log says what is missing


@dataclass(frozen=True)
class _Job:
    """A frame on its way to the worker."""

    frame: Frame
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
        self._stepping = threading.Lock()  # held while a frame is processed or everything is forgotten
        self._era = 0  # counts resets
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
        self._intake = ImageIntake(self, config, self.statistics, self._on_frame, self._restart)
        self.get_logger().info(f"ready; images are expected on {self._intake.subscription.topic_name}")

    # --- images -------------------------------------------------------------------------------------

    def _on_frame(self, frame: Frame, decode_s: float) -> None:
        if self.worker.submit(_Job(frame, decode_s, self._era)) is not None:
            self.statistics.count("dropped")

    def _process(self, job: _Job) -> None:
        """Run one frame; on the worker thread."""
        frame = job.frame
        with self._stepping:
            if job.era != self._era:
                self.statistics.count(
                    "dropped"
                )  # it came before the reset and must not open the new map
                return
            try:
                update = self.reconstructor.step(frame)
            except (ImageError, NonFiniteError) as error:
                self.statistics.count("skipped")
                self.get_logger().warning(f"frame skipped: {error}", throttle_duration_sec=1.0)
                return
            stepped = time.perf_counter()
            self._outputs.publish(update)
            publish_s = time.perf_counter() - stepped
            self._newest_stamp_ns = frame.stamp_ns
        self.statistics.finish({"decode": job.decode_s, **update.timings_s, "publish": publish_s})

    def _on_failure(self, error: BaseException) -> None:
        self.get_logger().fatal(f"mapping stopped: {type(error).__name__}: {error}")
        self.context.try_shutdown()

    def _restart(self) -> None:
        with self._stepping:
            self._era += 1
            self.reconstructor.restart()
            self._outputs.restart()

    # --- timers -------------------------------------------------------------------------------------

    def _publish_map(self) -> None:
        self._map_output.publish(self._newest_stamp_ns)

    def _publish_diagnostics(self) -> None:
        facts = {
            "segment": str(self.reconstructor.segment),
            "map_voxels": str(len(self.reconstructor.map)),
            "trajectory_poses": str(len(self.reconstructor.trajectory)),
            **self._facts,
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
        reason = (
            "nobody publishes there; remap `image`"
            if not publishers
            else (
                f"{publishers} publisher(s), but nothing arrives; try image_qos:=reliable, or is the source paused?"
            )
        )
        self.get_logger().warning(f"waiting for images on {topic}: {reason}")

    def _warn_of_twins(self) -> None:
        own = (self.get_name(), self.get_namespace())
        count = self.get_node_names_and_namespaces().count(own)
        if count > 1:
            self.get_logger().warning(
                f"{count} nodes are named {self.get_fully_qualified_name()}: they publish the same topics and TF; "
                "give one of them another name or namespace"
            )

    # --- services -----------------------------------------------------------------------------------

    def _create_services(self) -> None:
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(Trigger, "~/save_map", self._on_save_map)
        self.create_service(Trigger, "~/save_trajectory", self._on_save_trajectory)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._restart()
        response.success, response.message = True, "state, trajectory and map begin anew"
        return response

    def _on_save_map(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        cloud = self.reconstructor.map.point_cloud()
        return self._saved(
            response, "map.ply", f"{len(cloud.points)} points", lambda path: write_ply(path, cloud)
        )

    def _on_save_trajectory(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        stamps_ns, poses = self.reconstructor.trajectory.poses()
        return self._saved(
            response,
            "trajectory.txt",
            f"{len(poses)} poses",
            lambda path: write_tum(path, stamps_ns, poses),
        )

    def _saved(
        self, response: Trigger.Response, name: str, content: str, write: Callable[[Path], None]
    ) -> Trigger.Response:
        path = Path(self.config.output_directory).expanduser() / name
        try:
            write(path)
        except OutputError as error:
            response.success, response.message = False, str(error)
            self.get_logger().error(str(error))
            return response
        response.success, response.message = True, f"{content} written to {path}"
        self.get_logger().info(response.message)
        return response

    def destroy_node(self) -> None:
        """Finish the running frame, then go."""
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
    finally:
        # A second Ctrl-C, which launch and terminals like to send, must not interrupt the tidying up.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node is not None:
            node.destroy_node()
        try_shutdown()
    return 1 if node is not None and node.worker.failure is not None else 0


if __name__ == "__main__":
    sys.exit(main())
