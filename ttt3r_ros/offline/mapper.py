# SPDX-License-Identifier: Apache-2.0
"""Mapping of a recording, frame by frame, with a record of each mapped or skipped frame."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.backend import set_next_image_source
from ttt3r_ros.errors import ImageError
from ttt3r_ros.images.preprocessor import ImagePreprocessor
from ttt3r_ros.images.stamp_filter import StampFilter
from ttt3r_ros.io.frame_records import FrameRecord, format_frames, mapped_records, parse_frames
from ttt3r_ros.pipeline import checkpoint
from ttt3r_ros.pipeline.mapper import Mapper, Skipped, SkipReason
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
    """Maps the frames of one camera; `records` and `timings_s` have one entry per frame."""

    def __init__(
        self,
        backend: AnyBackend,
        config: Config,
        sensors: RecordedSensors,
        warn: Callable[[str], None],
    ) -> None:
        """Start with an empty map; ``warn`` logs anomalies of the images."""
        self.reconstructor: Reconstructor[Any] = Reconstructor(backend, config)
        self.records: list[FrameRecord] = []
        self.timings_s: list[dict[str, float]] = []
        self._backend = backend
        self._mapper = Mapper(backend, config, sensors, [self.reconstructor])
        self.sensors = sensors
        self._warn = warn
        # Called after a jump back in time, before map and trajectory are cleared.
        self.before_reset: Callable[[RecordingMapper], None] = lambda _: None
        self._preprocessor = ImagePreprocessor(rectify=config.rectify, warn=warn)
        self._skipped = 0

    @property
    def mapped(self) -> int:
        """Return the number of mapped frames."""
        return len(self.records) - self._skipped

    @property
    def newest_stamp_ns(self) -> int:
        """Return the stamp of the newest mapped frame; 0 without one."""
        return next((record.stamp_ns for record in reversed(self.records) if not record.skipped), 0)

    def count_skipped(self) -> dict[str, int]:
        """Return the number of skipped frames by reason."""
        return dict(Counter(record.skipped for record in self.records if record.skipped))

    def prepare(self, raw: Frame) -> Frame:
        """Return a rectified frame with intrinsics. The next frame may be prepared before this one is processed."""
        self._preprocessor.calibrate(raw.intrinsics)
        return self._preprocessor.frame(raw.stamp_ns, raw.camera_frame, raw.rgb)

    def process(self, frame: Frame, next_frame: Frame | None = None) -> Update | None:
        """Map a prepared frame; return None if it was skipped. ``next_frame`` may be encoded ahead."""
        started = time.perf_counter()
        order = self._preprocessor.stamp_filter.state_dict()
        try:
            set_next_image_source(self._backend, lambda: None if next_frame is None else next_frame.rgb)
            result = self._map(frame)
        except BaseException:
            # A resumed run starts with this frame.
            self._preprocessor.stamp_filter.load_state_dict(order)
            raise
        if isinstance(result, Skipped):
            self._record_skipped(frame, result)
            return None
        self.records.append(_record(result, len(self.records), self._mapper.map_id))
        self.timings_s.append({**result.timings_s, "frame": time.perf_counter() - started})
        return result

    def _record_skipped(self, frame: Frame, result: Skipped) -> None:
        self.records.append(
            FrameRecord(
                len(self.records), frame.stamp_ns, self._mapper.map_id,
                skipped=result.reason.value, skip_detail=result.detail,
            )
        )  # fmt: skip
        self.timings_s.append({})
        self._skipped += 1

    def state_dict(self) -> StateDict:
        """Return the state of the reconstructor and of the run.

        Raises:
            OutputError: no frame was mapped yet.
        """
        return {
            "reconstructor": checkpoint.state_dict(self.reconstructor),
            "stamp_filter": self._preprocessor.stamp_filter.state_dict(),
            "map_id": self._mapper.map_id,
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
            trajectory = StateReader(reconstructor, "state").group("trajectory")
            stamps_ns = StateReader(trajectory, "trajectory").array("stamps_ns", np.int64, (None,))
            read.require(
                stamps_ns.tolist() == [record.stamp_ns for record in mapped_records(records)],
                "frames and trajectory have other stamps or counts",
            )
            read.require(not records or records[-1].map_id == map_id, f"map_id is {map_id}")
        checkpoint.load_state_dict(self.reconstructor, reconstructor)
        self._preprocessor.stamp_filter = order
        self._mapper.map_id, self.records = map_id, records
        self._skipped = sum(bool(record.skipped) for record in records)
        self.timings_s = [{} for _ in records]

    def _map(self, frame: Frame) -> Update | Skipped:
        try:
            if self._preprocessor.accept(frame.stamp_ns):
                self._warn(f"time went back to {frame.stamp_ns}")
                self._mapper.on_time_jump(self._save_before_reset)
        except ImageError as error:
            return Skipped(SkipReason.OUT_OF_ORDER, str(error))
        (result,) = self._mapper.process([(self.reconstructor, frame)])
        return result

    def _save_before_reset(self, _: object) -> bool:
        self.before_reset(self)  # an error ends the run, and the map is written at its end
        return True


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
        distortion=" ".join(("_".join(camera.distortion_model.split()), *map(repr, camera.distortion)))
        if any(camera.distortion) else "",
    )  # fmt: skip
