# SPDX-License-Identifier: Apache-2.0
"""Everything between images and outputs; exists while the node is configured, takes images while it is active."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray

from ttt3r_ros.backend import set_next_image_source
from ttt3r_ros.errors import OutputError
from ttt3r_ros.geometry import se3_inverse
from ttt3r_ros.model.runtime.devices import device_memory_facts
from ttt3r_ros.pipeline.mapper import Mapper, Skipped
from ttt3r_ros.pipeline.worker import Worker
from ttt3r_ros.ros.clock_problem import find_clock_problem
from ttt3r_ros.ros.diagnostics import diagnostic_array
from ttt3r_ros.ros.image_subscriber import ImageCallbacks, ImageSubscriber
from ttt3r_ros.ros.mapped_camera import Job, MappedCamera, TrackedBody, mapped_cameras
from ttt3r_ros.ros.queue_drain import QueueDrain
from ttt3r_ros.ros.robot_sensors import RobotSensors
from ttt3r_ros.ros.statistics import Statistics
from ttt3r_ros.ros.steady_timer import create_steady_timer
from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings
from ttt3r_ros.ros.viewer_link import ViewerLink
from ttt3r_ros.slam.corrections import MapCorrection

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

    from ttt3r_ros.backend import AnyBackend
    from ttt3r_ros.config import Config
    from ttt3r_ros.pipeline.reconstructor import Reconstructor
    from ttt3r_ros.types import Float64Array, Frame, UInt8Array, Update

_QUEUE = 4  # frames that wait for the worker while nothing may be dropped; further ones wait in the middleware


class MappingRuntime:
    """Images in, results out; callbacks only convert, one worker thread does everything else."""

    def __init__(
        self,
        node: Node,
        config: Config,
        backend: AnyBackend,
        facts: dict[str, str],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._node = node
        self._facts = facts
        self._backend = backend
        self._on_failure = on_failure
        self.config = config
        self.viewer = ViewerLink(config, node.get_logger())  # first, for it may refuse
        self.statistics = Statistics()
        self.warnings = ThrottledWarnings(node.get_logger())
        self.sensors = RobotSensors(node, config, self.warnings)
        self.cameras = mapped_cameras(node, config, backend, self.sensors, self.warnings)
        self.bodies: list[TrackedBody] = list(dict.fromkeys(camera.body for camera in self.cameras))
        self.stepping = threading.Lock()  # held while frames are processed or everything is changed
        self.subscribers: list[ImageSubscriber] = []
        self.worker: Worker[Job] | None = None
        self.paused = False
        self._queue_drain = QueueDrain(node, self._count_received, self._is_idle)
        reconstructors = [body.reconstructor for body in self.bodies]
        self._mapper = Mapper(backend, config, self.sensors, reconstructors)
        self._session_id = 0  # counts resets, time jumps and loaded states
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        create_steady_timer(node, config.map.publish_period, self._publish_maps)
        create_steady_timer(node, config.diagnostics_period, self._publish_diagnostics)

    # --- life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take images from now on."""
        capacity = _QUEUE if self.config.queue_policy == "keep_all" else 0
        worker = Worker(
            self._process,
            self._on_failure,
            capacity,
            on_room=self._wake_executor,
            on_done=self._queue_drain.check,
        )
        worker.start()
        self.worker = worker
        # Subscribe last: everything an image needs is ready.
        self.subscribers = [
            ImageSubscriber(
                self._node,
                self.config,
                camera.name,
                ImageCallbacks(
                    on_frame=partial(self._on_frame, camera),
                    on_time_jump=self._on_time_jump,
                    on_release=self._queue_drain.check,
                    has_room=worker.has_room,
                ),
                self.statistics,
                self.warnings,
            )
            for camera in self.cameras
        ]

    def stop(self) -> None:
        """Take no more images; let the running ones finish."""
        for subscriber in self.subscribers:
            subscriber.close()
        self.subscribers = []
        if self.worker is not None:
            self.statistics.count("dropped", len(self.worker.stop()))
        self._queue_drain.check()

    async def wait_until_drained(self) -> None:
        """With queue_policy keep_all: wait until all images that have arrived are mapped."""
        if self.config.queue_policy == "keep_all":
            await self._queue_drain.wait_until_drained()

    def _count_received(self) -> int:
        return sum(subscriber.received for subscriber in self.subscribers)

    def _is_idle(self) -> bool:
        if any(subscriber.is_holding for subscriber in self.subscribers):
            return False
        return self.worker is None or self.worker.is_idle()

    def configure(self, config: Config) -> None:
        """Apply changed parameters."""
        with self.stepping:
            self.config = config
            self._mapper.configure(config)
            for body in self.bodies:
                body.configure(config)
            for camera in self.cameras:
                camera.outputs.config = config

    def reset(self) -> None:
        """Clear states, trajectories and maps; odom continues."""
        with self.stepping:
            self.start_new_session()
            self._mapper.reset()
            for body in self.bodies:
                body.reset_outputs()

    def start_new_session(self) -> None:
        """Drop the frames under way, which belong to the state before. Call while `stepping` is held."""
        self._session_id += 1
        self._drop_held()

    def pause(self, *, paused: bool) -> None:
        """Drop all images from now on, or take them again."""
        self.paused = paused
        self._drop_held()

    def _drop_held(self) -> None:
        for subscriber in self.subscribers:
            subscriber.drop_held()
        self._queue_drain.check()

    # --- images -------------------------------------------------------------------------------------

    def _on_frame(self, camera: MappedCamera, frame: Frame, received_s: float) -> None:
        job = Job(camera, frame, received_s, time.perf_counter() - received_s, self._session_id)
        assert self.worker is not None
        if self.paused or self.worker.submit(job, camera.name) is not None:
            self.statistics.count("dropped")

    def _process(self, jobs: list[Job]) -> None:
        """Map frames of different cameras and publish each result; on the worker thread."""
        assert self.worker is not None
        with self.worker.hold(self.stepping):
            set_next_image_source(self._backend, self._next_image)
            # A frame from before a reset must not become the first of the new map.
            current = [job for job in jobs if job.session_id == self._session_id]
            self.statistics.count("dropped", len(jobs) - len(current))
            frames = [(job.camera.body.reconstructor, job.frame) for job in current]
            for job, result in zip(current, self._mapper.process(frames), strict=True):
                if isinstance(result, Skipped):
                    self.statistics.count("skipped")
                    self.warnings.warn(f"frame skipped: {result}")
                else:
                    self._publish(job, result)

    def _next_image(self) -> UInt8Array | None:
        assert self.worker is not None
        job = self.worker.reserve()
        return job.frame.rgb if job is not None else None

    def _publish(self, job: Job, update: Update) -> None:
        started = time.perf_counter()
        job.camera.publish(update)
        self.viewer.show(job.camera, update)
        finished = time.perf_counter()
        own = {
            "decode": job.decode_s,
            "publish": finished - started,
            "latency": finished - job.received_s,
        }
        self.statistics.record_processed({**update.timings_s, **own})

    def _wake_executor(self) -> None:
        executor = self._node.executor
        if executor is not None:
            executor.wake()

    def _on_time_jump(self) -> None:
        self.sensors.clear()
        with self.stepping:
            self.start_new_session()
            if self._mapper.on_time_jump(self._save_before_reset):
                for body in self.bodies:
                    body.reset_outputs(time_jump=True)

    def _save_before_reset(self, reconstructor: Reconstructor[Any]) -> bool:
        """Save what a reset would clear; return whether nothing is lost by it."""
        body = next(body for body in self.bodies if body.reconstructor is reconstructor)
        log = self._node.get_logger()
        suffix = f"_until_{body.newest_stamp_ns}"
        try:
            log.info(body.files.save_trajectory(suffix))
            if len(reconstructor.map.voxels):
                log.info(body.files.save_map(suffix))
        except OutputError as error:
            log.error(f"time went back, but the map is not saved and therefore kept: {error}")  # noqa: TRY400
            return False
        return True

    # --- timers -------------------------------------------------------------------------------------

    def _publish_maps(self) -> None:
        for body in self.bodies:
            body.publish_map()

    def _publish_diagnostics(self) -> None:
        first = self.bodies[0].reconstructor
        facts = {
            "segment": str(first.segment_id),
            "scale": f"{first.scale_correction.scale:.4f}",
            "scale_source": first.scale_correction.source,
            "map_voxels": str(sum(len(body.reconstructor.map.voxels) for body in self.bodies)),
            "fused_pixel_percent": f"{100 * self.bodies[0].fused_fraction:.0f}",
            "landmarks": str(self.bodies[0].landmarks),
            "trajectory_poses": str(sum(len(body.reconstructor.trajectory) for body in self.bodies)),
            "paused": str(self.paused).lower(),
            **self._facts,
            **device_memory_facts(self._facts.get("device", "cpu")),
            **self.viewer.facts(),
        }
        stamp = self._node.get_clock().now().to_msg()
        name = self._node.get_fully_qualified_name().lstrip("/")
        seen = next(
            (subscriber.camera_frame for subscriber in self.subscribers if subscriber.camera_frame), ""
        )
        camera = self.config.camera_frame or seen
        problem = find_clock_problem(self._node)
        self._diagnostics.publish(diagnostic_array(stamp, name, camera, self.statistics, facts, problem))

    # --- poses --------------------------------------------------------------------------------------

    def set_pose(self, T_map_base: Float64Array) -> None:
        """Set the pose of the body in the map (4, 4)."""
        with self.stepping:
            body = self.bodies[0]
            before = body.reconstructor.pose_integrator.T_map_odom
            body.reconstructor.apply(MapCorrection(T_map_base=T_map_base))
            if body.transforms is not None:
                after = body.reconstructor.pose_integrator.T_map_odom
                body.transforms.correct(after @ se3_inverse(before))
