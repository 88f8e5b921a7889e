# SPDX-License-Identifier: Apache-2.0
"""The loop that the node and offline runs share: sensors, network and integration of each frame.

mount = sensors.before_inference(frame)          # skipped without a mount
estimate = reconstructor.infer(frame)            # skipped if the image or the result is unusable
context = sensors.after_inference(frame, mount)  # data that arrived during inference
update = reconstructor.integrate(frame, estimate, context)  # skipped if a value is not finite or absurd
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import ContrastError, ImageError, NonFiniteError, PlacementError
from ttt3r_ros.pipeline.batching import infer_batch
from ttt3r_ros.transforms.tree import TransformError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ttt3r_ros.backend import AnyBackend
    from ttt3r_ros.config import Config
    from ttt3r_ros.odometry.session import FrameEstimate
    from ttt3r_ros.pipeline.reconstructor import Reconstructor
    from ttt3r_ros.pipeline.sensors import MountContext, Sensors
    from ttt3r_ros.types import Frame, Update


class SkipReason(Enum):
    """Why a frame was not mapped."""

    OUT_OF_ORDER = "out of order"
    NOT_PLACED = "not placed"  # a pose or a sensor value is unknown at its stamp, not finite or absurd
    ONE_COLOR = "of one color"
    UNUSABLE_IMAGE = "unusable image"  # too narrow, or of another number of channels
    NOT_FINITE = "not finite"  # the network's result


@dataclass(frozen=True)
class Skipped:
    """Result of a frame that was not mapped; the map is as it was before."""

    reason: SkipReason
    detail: str

    def __str__(self) -> str:
        """Return reason and detail for logs and ``frames.csv``."""
        return f"{self.reason.value}: {self.detail}"


_REASONS: dict[type[Exception], SkipReason] = {
    TransformError: SkipReason.NOT_PLACED,
    PlacementError: SkipReason.NOT_PLACED,
    ContrastError: SkipReason.ONE_COLOR,
    ImageError: SkipReason.UNUSABLE_IMAGE,
    NonFiniteError: SkipReason.NOT_FINITE,
}


class Mapper:
    """Maps the frames of one or several cameras. One thread calls it at a time."""

    def __init__(
        self,
        backend: AnyBackend,
        config: Config,
        sensors: Sensors,
        reconstructors: Sequence[Reconstructor[Any]],
    ) -> None:
        self._backend = backend
        self._config = config
        self._sensors = sensors
        self._reconstructors = reconstructors
        self.map_id = 0  # counts the maps: a reset or a jump back in time starts the next one

    def configure(self, config: Config) -> None:
        """Apply changed parameters to sensors and reconstructors."""
        self._config = config
        self._sensors.configure(config)
        for reconstructor in self._reconstructors:
            reconstructor.configure(config)

    def process(self, frames: Sequence[tuple[Reconstructor[Any], Frame]]) -> Iterator[Update | Skipped]:
        """Map frames and yield the result of each, in order.

        Frames of different reconstructors pass through the network as one batch. Each frame is integrated when its
        result is requested, so that the caller can publish it before the next one.
        """
        one_each = len({id(reconstructor) for reconstructor, _ in frames}) == len(frames)
        for batch in [frames] if one_each else [[frame] for frame in frames]:
            yield from self._process_batch(batch)

    def reset(self, *, reset_odom: bool = False) -> None:
        """Clear states, trajectories and maps; odom continues unless ``reset_odom``."""
        for reconstructor in self._reconstructors:
            reconstructor.reset(reset_odom=reset_odom)
        self.map_id += 1

    def on_time_jump(self, save: Callable[[Reconstructor[Any]], bool]) -> bool:
        """Apply the parameter ``on_time_jump`` after stamps went back; return whether the maps were cleared.

        ``save`` is called for each reconstructor that has a map and returns whether the map is saved. If one is not,
        no map is cleared, as with ``keep_map``.
        """
        if self._config.on_time_jump == "keep_map" or not self._save_all(save):
            for reconstructor in self._reconstructors:
                reconstructor.reset_state()
            return False
        self.reset(reset_odom=True)
        return True

    def _save_all(self, save: Callable[[Reconstructor[Any]], bool]) -> bool:
        return all(save(mapped) for mapped in self._reconstructors if len(mapped.trajectory))

    def _process_batch(
        self, frames: Sequence[tuple[Reconstructor[Any], Frame]]
    ) -> Iterator[Update | Skipped]:
        mounts = [self._mount(reconstructor, frame) for reconstructor, frame in frames]
        placeable = [
            entry for entry, mount in zip(frames, mounts, strict=True) if not isinstance(mount, Skipped)
        ]
        estimates = iter(self._infer(placeable))
        for (reconstructor, frame), mount in zip(frames, mounts, strict=True):
            if isinstance(mount, Skipped):
                yield mount
                continue
            estimate = next(estimates)
            if isinstance(estimate, Skipped):
                yield estimate
            else:
                yield self._integrate(reconstructor, frame, mount, estimate)

    def _mount(self, reconstructor: Reconstructor[Any], frame: Frame) -> MountContext | Skipped:
        try:
            is_first = reconstructor.pose_integrator.awaits_first_frame
            return self._sensors.before_inference(frame, is_first=is_first)
        except TransformError as error:
            return _to_skipped(error)

    def _infer(
        self, frames: Sequence[tuple[Reconstructor[Any], Frame]]
    ) -> list[FrameEstimate | Skipped]:
        if len(frames) > 1:
            results = infer_batch(self._backend, frames)
            return [_to_skipped(r) if isinstance(r, Exception) else r for r in results]
        try:
            return [reconstructor.infer(frame) for reconstructor, frame in frames]
        except (ImageError, NonFiniteError) as error:
            return [_to_skipped(error)]

    def _integrate(
        self,
        reconstructor: Reconstructor[Any],
        frame: Frame,
        mount: MountContext,
        estimate: FrameEstimate,
    ) -> Update | Skipped:
        started = time.perf_counter()
        context = self._sensors.after_inference(frame, mount)
        waited_s = time.perf_counter() - started
        try:
            update = reconstructor.integrate(frame, estimate, context)
        except PlacementError as error:
            return _to_skipped(error)
        return replace(update, timings_s={**update.timings_s, "transforms": waited_s})


def _to_skipped(error: Exception) -> Skipped:
    return Skipped(_REASONS[type(error)], str(error))
