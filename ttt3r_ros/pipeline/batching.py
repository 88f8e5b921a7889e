# SPDX-License-Identifier: Apache-2.0
"""Frames of several cameras that come at once go through the network as one batch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ttt3r_ros.backend import step_batch
from ttt3r_ros.errors import ImageError, NonFiniteError
from ttt3r_ros.pipeline.reconstructor import Reconstructor, require_contrast, timed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ttt3r_ros.backend import AnyBackend
    from ttt3r_ros.odometry.session import FrameEstimate
    from ttt3r_ros.types import Frame


def infer_batch(
    backend: AnyBackend, pairs: Sequence[tuple[Reconstructor[Any], Frame]]
) -> list[FrameEstimate | ImageError | NonFiniteError]:
    """Show each reconstructor its frame, all in one step of the network; return estimates or what prevented them."""
    for reconstructor, _ in pairs:
        reconstructor.apply_corrections()
    started = time.perf_counter()
    seen: list[FrameEstimate | ImageError | NonFiniteError | None] = [
        _refusal(frame) for _, frame in pairs
    ]
    usable = [index for index, refusal in enumerate(seen) if refusal is None]
    assert len({id(reconstructor) for reconstructor, _ in pairs}) == len(pairs), "one frame each"
    try:
        answers = step_batch(
            backend,
            [pairs[index][1].rgb for index in usable],
            [pairs[index][0].session.state for index in usable],
        )
    except ImageError as error:  # one is too narrow for the network: which one, single steps tell
        if len(pairs) == 1:
            return [error]
        return [answer for pair in pairs for answer in infer_batch(backend, [pair])]
    for index, answer in zip(usable, answers, strict=True):
        reconstructor, frame = pairs[index]
        if isinstance(answer, NonFiniteError):
            seen[index] = answer
        else:
            seen[index] = timed(reconstructor.session.commit(frame.rgb, *answer), started)
    return [entry for entry in seen if entry is not None]


def _refusal(frame: Frame) -> ImageError | None:
    try:
        require_contrast(frame)
    except ImageError as error:
        return error
    return None
