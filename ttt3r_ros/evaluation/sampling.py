# SPDX-License-Identifier: Apache-2.0
"""The frames of a sequence that a protocol selects, preprocessed for it."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ttt3r_ros.errors import SourceError
from ttt3r_ros.evaluation.accuracy import true_depth_m
from ttt3r_ros.evaluation.metrics.trajectory import PosesByTime
from ttt3r_ros.evaluation.protocols import DEPTH, POSE
from ttt3r_ros.images.preprocessor import ImagePreprocessor
from ttt3r_ros.images.rectification import rectify_depth
from ttt3r_ros.io.sequence import SequenceWrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ttt3r_ros.evaluation.protocols import Sampling
    from ttt3r_ros.io.sequence import ImageSequence
    from ttt3r_ros.types import Float32Array, Frame, ImageGeometry, Intrinsics, UInt8Array

logger = logging.getLogger(__name__)


class SampledSequence(SequenceWrapper):
    """Selected frames of a sequence, with its whole ground truth."""

    def __init__(
        self, sequence: ImageSequence, sampling: Sampling, geometry: Callable[[int, int], ImageGeometry]
    ) -> None:
        """Sample; ``geometry`` is the network's plan for an image of a width and height."""
        super().__init__(sequence)
        self._sampling = sampling
        self._geometry = geometry
        self._poses = PosesByTime(sequence.ground_truth())
        self.remarks: tuple[str, ...] = getattr(sequence, "remarks", ())
        self.place_of: dict[int, int] = {}  # of a frame's stamp: neighbors by the stride differ by one
        self._rectified: dict[int, tuple[Intrinsics, Intrinsics]] = {}  # its camera and what that became

    def __len__(self) -> int:
        frames = len(self._sequence) - self._sampling.first
        return max(0, -(-frames // self._sampling.stride))

    def frames(self) -> Iterator[Frame]:
        """Read the chosen frames in order."""
        intake = ImagePreprocessor(rectify=self._sampling.rectified, warn=logger.warning)
        counted = (
            # A file that is no image leaves a gap, too.
            (index + self._sequence.skipped, frame)
            for index, frame in enumerate(self._sequence.frames())
            if self._counts(frame)
        )
        place, before = 0, None
        for index, frame in islice(counted, self._sampling.first, None, self._sampling.stride):
            place += 1 if before is None or index - before == self._sampling.stride else 2
            self.place_of[frame.stamp_ns], before = place, index
            yield self._prepare(frame, intake)

    def true_depth_m(self, stamp_ns: int) -> Float32Array | None:
        """Return the measured depth (h, w) of a frame, rectified like its image.

        Raises:
            SourceError: its file cannot be read.
        """
        depth_m = true_depth_m(self._sequence, stamp_ns)
        cameras = self._rectified.get(stamp_ns)
        return depth_m if depth_m is None or cameras is None else rectify_depth(depth_m, *cameras)

    def _counts(self, frame: Frame) -> bool:
        if self._sampling.only_with == POSE:
            return self._poses.at(frame.stamp_ns) is not None
        if self._sampling.only_with == DEPTH:
            try:
                return self.true_depth_m(frame.stamp_ns) is not None
            except (SourceError, OSError):  # measured, and named when the frame is compared
                return True
        return True

    def _prepare(self, frame: Frame, intake: ImagePreprocessor) -> Frame:
        if self._sampling.rectified:
            source = frame.intrinsics
            intake.calibrate(source)
            frame = intake.frame(frame.stamp_ns, frame.camera_frame, frame.rgb)
            pinhole = frame.intrinsics
            if source and pinhole and pinhole.distortion_model != source.distortion_model:
                self._rectified[frame.stamp_ns] = source, pinhole
        if self._sampling.whole_image:
            geometry = self._geometry(frame.rgb.shape[1], frame.rgb.shape[0])
            frame = replace(frame, rgb=resize_whole(frame.rgb, geometry))
        return frame


def resize_whole(rgb: UInt8Array, geometry: ImageGeometry) -> UInt8Array:
    """Return all of an image (H, W, 3) at the size (h, w) of the network's image, which else would crop it.

    Resized twice, as the loader of the published evaluation does. An image that the network crops for its shape
    alone (a square) is squeezed to that shape, too.
    """
    lanczos: Any = Image.LANCZOS  # type: ignore[attr-defined,unused-ignore] # Pillow 9.0 has no other name for it
    resized = Image.fromarray(rgb).resize((geometry.resized_width, geometry.resized_height), lanczos)
    return np.asarray(resized.resize((geometry.width, geometry.height), lanczos))
