# SPDX-License-Identifier: Apache-2.0
"""The pipeline of the node over a recording: each image is mapped or skipped, and there is a record of both."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.backend import set_next_image_source
from ttt3r_ros.errors import ImageError, NonFiniteError
from ttt3r_ros.images.preprocessor import ImagePreprocessor
from ttt3r_ros.images.stamp_filter import StampFilter
from ttt3r_ros.io.frame_records import FrameRecord, format_frames, parse_frames
from ttt3r_ros.odometry.sensor_context import SensorContext
from ttt3r_ros.offline.recorded_sensors import UnplacedError
from ttt3r_ros.pipeline import checkpoint
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.state_dict import StateReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ttt3r_ros.backend import AnyBackend
    from ttt3r_ros.config import Config
    from ttt3r_ros.offline.recorded_sensors import RecordedSensors
    from ttt3r_ros.state_dict import StateDict
    from ttt3r_ros.types import Frame, Update


class RecordingMapper:
    """Maps the images of one camera one by one; `records` and `timings_s` have an entry for each."""

    def __init__(
        self,
        backend: AnyBackend,
        config: Config,
        robot: RecordedSensors,
        complain: Callable[[str], None],
    ) -> None:
        """Begin with an empty map; what is odd about the images is said by ``complain``."""
        self.reconstructor: Reconstructor[Any] = Reconstructor(backend, config)
        self.records: list[FrameRecord] = []
        self.timings_s: list[dict[str, float]] = []
        self._backend = backend
        self._config = config
        self.sensors = robot
        self._complain = complain
        # Called when time has gone back, before map and trajectory are cleared.
        self.before_reset: Callable[[RecordingMapper], None] = lambda _: None
        self._intake = ImagePreprocessor(rectify=config.rectify, warn=complain)
        self._map_id = 0
        self._skipped = 0

    @property
    def mapped(self) -> int:
        """Return how many images were mapped."""
        return len(self.records) - self._skipped

    @property
    def newest_stamp_ns(self) -> int:
        """Return the stamp of the newest image that was mapped."""
        return next((record.stamp_ns for record in reversed(self.records) if not record.skipped), 0)

    def skipped(self) -> dict[str, int]:
        """Return how many images were skipped, by the reason without its numbers."""
        counts: dict[str, int] = defaultdict(int)
        for record in self.records:
            if record.skipped:
                counts[record.skipped.split(":")[0]] += 1
        return dict(counts)

    def prepare(self, raw: Frame) -> Frame:
        """Return an image as the network is to see it; may be called for the next one before this one is shown."""
        self._intake.calibrate(raw.intrinsics)
        return self._intake.frame(raw.stamp_ns, raw.camera_frame, raw.rgb)

    def process(self, frame: Frame, upcoming: Frame | None = None) -> Update | None:
        """Map the next prepared image; None if it was skipped. The one after it the network may encode meanwhile."""
        started = time.perf_counter()
        order = self._intake.stamp_filter.state_dict()
        try:
            set_next_image_source(self._backend, lambda: None if upcoming is None else upcoming.rgb)
            outcome = self._mapped(frame)
        except BaseException:
            # This image was not seen: a run that goes on begins with it.
            self._intake.stamp_filter.load_state_dict(order)
            raise
        if isinstance(outcome, str):
            record = FrameRecord(len(self.records), frame.stamp_ns, self._map_id, skipped=outcome)
            timings_s: dict[str, float] = {}
            self._skipped += 1
        else:
            record = _record(outcome, len(self.records), self._map_id)
            timings_s = {**outcome.timings_s, "frame": time.perf_counter() - started}
        self.records.append(record)
        self.timings_s.append(timings_s)
        return None if isinstance(outcome, str) else outcome

    def state_dict(self) -> StateDict:
        """Return the state of the reconstructor and of the run.

        Raises:
            OutputError: no frame was mapped yet.
        """
        return {
            "reconstructor": checkpoint.state_dict(self.reconstructor),
            "stamp_filter": self._intake.stamp_filter.state_dict(),
            "map_id": self._map_id,
            "frames": np.frombuffer(format_frames(self.records), np.uint8),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`, bit by bit as without the interruption.

        Raises:
            SourceError: an entry is invalid or belongs to other weights or settings; nothing has changed.
        """
        order = StampFilter()
        with StateReader(state, "run") as read:
            order.load_state_dict(read.group("stamp_filter"))
            map_id = read.integer("map_id")
            records = parse_frames(read.array("frames", np.uint8, (None,)).tobytes())
            reconstructor = read.group("reconstructor")
        checkpoint.load_state_dict(self.reconstructor, reconstructor)
        self._intake.stamp_filter = order
        self._map_id, self.records = map_id, records
        self._skipped = sum(bool(record.skipped) for record in records)
        self.timings_s = [{} for _ in records]

    def _begin_anew(self, stamp_ns: int) -> None:
        self._complain(f"time went back to {stamp_ns}")
        if self._config.on_time_jump == "keep_map":
            self.reconstructor.reset_state()
            return
        if len(self.reconstructor.trajectory):
            self.before_reset(self)
        self.reconstructor.reset(reset_odom=True)
        self._map_id += 1

    def _mapped(self, frame: Frame) -> Update | str:
        """Return what an image brought, or why it was skipped."""
        try:
            if self._intake.accept(frame.stamp_ns):
                self._begin_anew(frame.stamp_ns)
        except ImageError as error:
            return f"out of order: {error}"
        try:
            context = self._sensor_context(frame)
            estimate = self.reconstructor.infer(frame)
        except UnplacedError as error:
            return f"not placed: {error}"
        except ImageError as error:
            return f"of one color: {error}"
        except NonFiniteError as error:
            return f"not finite: {error}"
        return self.reconstructor.integrate(frame, estimate, context)

    def _sensor_context(self, frame: Frame) -> SensorContext:
        """Return what the robot says at a frame; before the network sees it, so that nothing has changed if this fails.

        Raises:
            UnplacedError: the mount of the camera is not known.
        """
        return SensorContext(
            T_base_camera=self.sensors.mount(frame.camera_frame, frame.stamp_ns),
            T_odom_base=self.sensors.odometry(frame.stamp_ns),
            measured_depth=self.sensors.measured_depth(frame.stamp_ns),
        )


def _record(update: Update, index: int, map_id: int) -> FrameRecord:
    camera = update.intrinsics
    return FrameRecord(
        index,
        update.frame.stamp_ns,
        map_id,
        segment=update.segment,
        scale=float(update.scale),
        confidence_mean=float(np.mean(update.prediction.confidence)),
        fused_fraction=update.fused_fraction,
        landmarks=update.landmarks,
        position_std_m=float(np.sqrt(np.diag(update.pose_covariance)[:3].max())),
        fx=float(camera.fx), fy=float(camera.fy), cx=float(camera.cx), cy=float(camera.cy),
        width=camera.width, height=camera.height,
        distortion=" ".join((camera.distortion_model, *map(repr, camera.distortion)))
        if any(camera.distortion) else "",
    )  # fmt: skip
