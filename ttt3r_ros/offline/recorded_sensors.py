# SPDX-License-Identifier: Apache-2.0
"""Sensors of a recording: its transforms and measured depths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import ConfigError, SourceError
from ttt3r_ros.pipeline.sensors import Sensors
from ttt3r_ros.repeated_warnings import RepeatedWarnings
from ttt3r_ros.transforms.mount import CameraMount
from ttt3r_ros.transforms.tree import TransformError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.config import Config
    from ttt3r_ros.io.sequence import ImageSequence
    from ttt3r_ros.types import Float32Array, Float64Array


class RecordedSensors(Sensors):
    """Reads the sensors of a recording; logs each kind of missing data once and counts the others."""

    def __init__(self, config: Config, source: ImageSequence, warn: Callable[[str], None]) -> None:
        """Open the transforms and depths of a source.

        Raises:
            ConfigError: the parameters need transforms or depths that the source does not have.
        """
        super().__init__(config, CameraMount(config, self._lookup, self._root_of))
        self.warnings = RepeatedWarnings(warn)
        self._transforms = _transforms_of(source)
        self._depth_at = getattr(source, "true_depth_m", None)
        if config.on_robot and self._transforms is None:
            msg = f"tf_mode is {config.tf_mode}, and the source has no transforms (/tf, /tf_static)"
            raise ConfigError(msg)
        if config.scale.source == "depth" and self._depth_at is None:
            msg = "scale.source is depth, and the source has no measured depth"
            raise ConfigError(msg)

    def _lookup(self, parent: str, child: str, stamp_ns: int) -> Float64Array:
        T: Float64Array | None = (
            None if self._transforms is None else self._transforms.lookup(parent, child, stamp_ns)
        )
        if T is None:
            msg = f"the recording has no {parent} -> {child} at {stamp_ns}"
            raise TransformError(msg)
        return T

    def _root_of(self, frame: str) -> str:
        if self._transforms is None:
            return frame
        return str(self._transforms.root_of(frame, below={self._config.map_frame}))

    def _up_camera(self, header_frame: str) -> Float64Array | None:  # noqa: ARG002
        return None  # IMU messages of recordings are not read

    def _odometry_topic(self, stamp_ns: int) -> Float64Array | None:  # noqa: ARG002
        return None  # odometry messages of recordings are not read

    def _measured_depth(self, stamp_ns: int) -> Float32Array | None:
        if self._depth_at is None:
            return None
        try:
            depth: Float32Array | None = self._depth_at(stamp_ns)
        except SourceError as error:
            self._warn("depth", f"no depth for the scale: {error}")
            return None
        return None if depth is None else np.where(depth > 0, depth, np.float32(np.nan))

    def _warn(self, kind: str, text: str) -> None:
        self.warnings.warn(text, kind)


def _transforms_of(source: Any) -> Any:
    transforms = getattr(source, "transforms", None)
    return None if transforms is None else transforms()
