# SPDX-License-Identifier: Apache-2.0
"""Inference of simultaneous frames of several cameras as one batch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ttt3r_ros.backend import step_batch
from ttt3r_ros.errors import ImageError, NonFiniteError
from ttt3r_ros.pipeline.reconstructor import Reconstructor, add_step_time, require_contrast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ttt3r_ros.backend import AnyBackend
    from ttt3r_ros.odometry.session import FrameEstimate
    from ttt3r_ros.types import Frame


def infer_batch(
    backend: AnyBackend, pairs: Sequence[tuple[Reconstructor[Any], Frame]]
) -> list[FrameEstimate | ImageError | NonFiniteError]:
    """Process one frame for each of several distinct reconstructors as one batch; see `Reconstructor.infer`.

    Returns:
        For each pair the estimate, or the error that prevented it.
    """
    assert len({id(reconstructor) for reconstructor, _ in pairs}) == len(pairs), "one frame each"
    for reconstructor, _ in pairs:
        reconstructor.apply_corrections()
    started_s = time.perf_counter()
    results: list[FrameEstimate | ImageError | NonFiniteError | None] = [
        _contrast_error(frame) for _, frame in pairs
    ]
    usable = [index for index, error in enumerate(results) if error is None]
    try:
        steps = step_batch(
            backend,
            [pairs[index][1].rgb for index in usable],
            [pairs[index][0].session.state for index in usable],
        )
    except ImageError as error:  # an image is too narrow; single steps show which one
        if len(pairs) == 1:
            return [error]
        return [result for pair in pairs for result in infer_batch(backend, [pair])]
    for index, step in zip(usable, steps, strict=True):
        reconstructor, frame = pairs[index]
        if isinstance(step, NonFiniteError):
            results[index] = step
            continue
        try:
            results[index] = add_step_time(reconstructor.session.commit(frame.rgb, *step), started_s)
        except NonFiniteError as error:
            results[index] = error
    return [result for result in results if result is not None]


def _contrast_error(frame: Frame) -> ImageError | None:
    try:
        require_contrast(frame)
    except ImageError as error:
        return error
    return None
