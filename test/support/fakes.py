# SPDX-License-Identifier: Apache-2.0
"""Backends without a network; all their results can be computed by hand."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import NonFiniteError
from ttt3r_ros.state_dict import StateReader
from ttt3r_ros.types import Frame, ImageGeometry, Prediction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ttt3r_ros.backend import NextImageSource, StepResult
    from ttt3r_ros.types import UInt8Array

HEIGHT, WIDTH = 12, 16
FOCAL = 20.0
DEPTH_M = 2.0


@dataclass(frozen=True)
class FakeState:
    """Counts the images of a segment."""

    seen: int = 0


class MinimalBackend:
    """Moves one meter along the optical axis per image, two meters before a wall; has no optional capability.

    An image whose first pixel is (13, 13, 13) has a non-finite result.
    """

    weights_id = "fake"

    def __init__(self) -> None:
        self.shown: list[tuple[int, int]] = []  # (first pixel's red, images seen before)

    def initial_state(self) -> FakeState:
        return FakeState()

    def step(self, rgb: UInt8Array, state: FakeState) -> tuple[Prediction, FakeState]:
        if tuple(rgb[0, 0]) == (13, 13, 13):
            msg = "non-finite output of the fake network"
            raise NonFiniteError(msg)
        self.shown.append((int(rgb[0, 0, 0]), state.seen))
        T_segment_camera = np.eye(4)
        T_segment_camera[2, 3] = float(state.seen)
        return prediction(T_segment_camera), FakeState(state.seen + 1)


class FakeBackend(MinimalBackend):
    """The same with every optional capability."""

    reset_interval = 0
    pose_source = "network"

    def __init__(self) -> None:
        super().__init__()
        self.next_images: list[int] = []  # first pixel's red

    def set_next_image_source(self, source: NextImageSource) -> None:
        if (rgb := source()) is not None:
            self.next_images.append(int(rgb[0, 0, 0]))

    def step_batch(
        self, images: Sequence[UInt8Array], states: Sequence[FakeState]
    ) -> list[StepResult[FakeState]]:
        results: list[StepResult[FakeState]] = []
        for rgb, state in zip(images, states, strict=True):
            try:
                results.append(self.step(rgb, state))
            except NonFiniteError as error:
                results.append(error)
        return results

    def state_arrays(self, state: FakeState) -> dict[str, np.ndarray[Any, Any]]:
        return {"seen": np.array([state.seen])}

    def state_from_arrays(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> FakeState:
        with StateReader(arrays, "fake state") as read:
            return FakeState(int(read.array("seen", np.int64, (1,))[0]))


def prediction(T_segment_camera: np.ndarray | None = None, focal: float = FOCAL) -> Prediction:
    u, v = np.meshgrid(np.arange(WIDTH) - WIDTH // 2, np.arange(HEIGHT) - HEIGHT // 2)
    points = np.stack(
        (u * DEPTH_M / focal, v * DEPTH_M / focal, np.full_like(u, DEPTH_M, float)), axis=-1
    )
    return Prediction(
        points_camera=points.astype(np.float32),
        confidence=np.full((HEIGHT, WIDTH), 3.0, np.float32),
        T_segment_camera=np.eye(4) if T_segment_camera is None else T_segment_camera,
        rgb=np.full((HEIGHT, WIDTH, 3), 200, np.uint8),
        geometry=ImageGeometry(2 * WIDTH, 2 * HEIGHT, WIDTH, HEIGHT, 0, 0, WIDTH, HEIGHT),
    )


def image(mark: int = 0, height: int = 2 * HEIGHT, width: int = 2 * WIDTH) -> UInt8Array:
    """Return a gradient whose first pixel is ``mark``."""
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    rgb = np.repeat(np.repeat(ramp[None, :, None], height, axis=0), 3, axis=2)
    rgb[0, 0] = mark
    return rgb


def frame(mark: int = 0, stamp_ns: int = 0, **kwargs: object) -> Frame:
    return Frame(stamp_ns or (mark + 1) * 10**9, "camera_optical_frame", image(mark), **kwargs)  # type: ignore[arg-type]


class BlockingBackend(FakeBackend):
    """Sets `entered` at the start of each step, then blocks until `released` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.released = threading.Event(), threading.Event()

    def step(self, rgb: UInt8Array, state: FakeState) -> tuple[Prediction, FakeState]:
        self.entered.set()
        assert self.released.wait(30.0)
        return super().step(rgb, state)
