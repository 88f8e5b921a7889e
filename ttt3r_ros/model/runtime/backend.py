# SPDX-License-Identifier: Apache-2.0
"""The network on a device, a `Backend` with every optional capability."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ttt3r_ros.errors import NonFiniteError
from ttt3r_ros.geometry import pose_matrix
from ttt3r_ros.model.checkpoints.networks import network_id
from ttt3r_ros.model.network.state import RecurrentState, concatenate, state_from_arrays
from ttt3r_ros.model.runtime.encoder import Encoder
from ttt3r_ros.model.runtime.execution import ExecutionOptions, NetworkOutputs, build_execution
from ttt3r_ros.model.runtime.precision import use_precision
from ttt3r_ros.model.runtime.preprocessing import InputSize
from ttt3r_ros.types import ImageGeometry, Prediction, UInt8Array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from ttt3r_ros.backend import NextImageSource
    from ttt3r_ros.model.network.network import Ttt3r

_MIN_QUATERNION = 1e-9  # shorter ones have no direction
StepResult = tuple[Prediction, RecurrentState] | NonFiniteError

_WARM_UP_IMAGE = (640, 480)  # size [px] assumed before the first camera image


class PreparedImage(NamedTuple):
    """An image at the network's resolution, before inference."""

    image: UInt8Array  # (h, w, 3)
    geometry: ImageGeometry
    timings_s: Mapping[str, float]


class TorchBackend:
    """Runs image streams through a network, one at a time or as a batch. All calls must come from one thread.

    The backend owns ``network`` and changes its precision in place. ``long_edge`` [px] overrides the network's
    image size; 0 keeps it.
    """

    def __init__(
        self,
        network: Ttt3r,
        options: ExecutionOptions | None = None,
        *,
        long_edge: int = 0,
        reset_interval: int = 0,
        pose_source: str = "network",
    ) -> None:
        options = options or ExecutionOptions()
        self.weights_id = network_id(network)
        self.size = InputSize.of(network.config, long_edge)
        self.reset_interval = reset_interval
        self.pose_source = pose_source
        self._device = torch.device(options.device)
        self._network = use_precision(network.eval(), options.precision).to(self._device)
        with torch.inference_mode(), self._device_context():
            self._execution = build_execution(
                self._network, options.mode, parallel_decoders=options.parallel_decoders
            )
            self._encoder = Encoder(self._execution, self.size, self._device, ahead=options.encode_ahead)
            self._initial_state = self._network.initial_state()

    def _device_context(self) -> AbstractContextManager[object]:
        """Return a context that creates CUDA streams, events and graphs on this device, not on the first."""
        return torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()

    @property
    def device(self) -> str:
        """Return the name of the device."""
        return str(self._device)

    def initial_state(self) -> RecurrentState:
        """Return the state before the first image of a segment."""
        return self._initial_state

    def warm_up(self, cameras: int = 1) -> None:
        """Compile and trace for 640x480 images of up to ``cameras`` streams, so that no frame waits for it."""
        gray = np.full((_WARM_UP_IMAGE[1], _WARM_UP_IMAGE[0], 3), 127, np.uint8)
        for batch in range(1, cameras + 1):
            self.step_batch([gray] * batch, [self.initial_state()] * batch)
            self._encoder.clear()

    def set_next_image_source(self, source: NextImageSource) -> None:
        """Register the source of the image after the next `step`; that step calls it once at most."""
        self._encoder.set_next_image_source(source)

    def step(self, rgb: UInt8Array, state: RecurrentState) -> tuple[Prediction, RecurrentState]:
        """Run one image (H, W, 3).

        Raises:
            ImageError: the image cannot be cropped to the network's size.
            NonFiniteError: an output is NaN or infinite; ``state`` remains valid.
        """
        (result,) = self.step_batch([rgb], [state])
        if isinstance(result, NonFiniteError):
            raise result
        return result

    @torch.inference_mode()
    def step_batch(
        self, images: Sequence[UInt8Array], states: Sequence[RecurrentState]
    ) -> list[StepResult]:
        """Run one image (H, W, 3) per state; images of equal network size form a batch.

        Timings are those of the batch. The result of a stream with a non-finite output is its error.

        Raises:
            ImageError: an image cannot be cropped to the network's size; no stream was run.
        """
        if len(images) != len(states):
            msg = f"{len(images)} images for {len(states)} states; expected as many"
            raise ValueError(msg)
        geometries = [self.size.geometry(rgb.shape[1], rgb.shape[0]) for rgb in images]
        batches: dict[tuple[int, int], list[int]] = {}
        for index, geometry in enumerate(geometries):
            batches.setdefault((geometry.width, geometry.height), []).append(index)
        results: dict[int, StepResult] = {}
        for indices in batches.values():
            streams = [(images[k], geometries[k], states[k]) for k in indices]
            with self._device_context():
                batch = self._step_equal_sizes(*zip(*streams, strict=True))
            results.update(zip(indices, batch, strict=True))
        return [results[index] for index in range(len(images))]

    def _step_equal_sizes(
        self,
        images: tuple[UInt8Array, ...],
        geometries: tuple[ImageGeometry, ...],
        states: tuple[RecurrentState, ...],
    ) -> list[StepResult]:
        started = time.perf_counter()
        resized = [
            self._encoder.preprocess(rgb, geometry)
            for rgb, geometry in zip(images, geometries, strict=True)
        ]
        prepared = time.perf_counter()

        encoded = self._encoder.encode(resized)
        outputs, next_state = self._execution.advance(
            torch.cat([entry.tensor for entry in encoded]),
            torch.cat([entry.features for entry in encoded]),
            concatenate(states),
        )
        self._encoder.prefetch()
        outputs = copy_to_host_sync(outputs)
        finished = time.perf_counter()

        timings_s = {"preprocess": prepared - started, "network": finished - prepared}
        return [
            _step_result(outputs, next_state, index, PreparedImage(image, geometry, timings_s))
            for index, (image, geometry) in enumerate(zip(resized, geometries, strict=True))
        ]

    @torch.inference_mode()
    def state_arrays(self, state: RecurrentState) -> dict[str, NDArray[Any]]:
        """Return a state as arrays: tokens and memory as float32, fresh as bool."""
        return state.arrays_sync()

    @torch.inference_mode()
    def state_from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> RecurrentState:
        """Return the state of `state_arrays`, equal to the last bit.

        Raises:
            SourceError: the arrays are not a state of this network, or not finite.
        """
        return state_from_arrays(arrays, self._network.initial_state())


def copy_to_host_sync(outputs: NetworkOutputs) -> NetworkOutputs:
    """Return the outputs in host memory, by one transfer; waits for the device."""
    if outputs.points.device.type != "cuda":
        return outputs
    flat = _pack(outputs)
    host = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True)
    host.copy_(flat, non_blocking=True)
    torch.cuda.current_stream().synchronize()
    return _unpack(host, outputs)


def _pack(outputs: NetworkOutputs) -> Tensor:
    """Return all outputs as one float32 tensor (B, values)."""
    return torch.cat([tensor.reshape(len(tensor), -1).float() for tensor in outputs], dim=1)


def _unpack(flat: Tensor, like: NetworkOutputs) -> NetworkOutputs:
    """Invert `_pack`, with the shapes and types of ``like``."""
    parts = flat.split([tensor[0].numel() for tensor in like], dim=1)
    pairs = zip(parts, like, strict=True)
    return NetworkOutputs(*(part.reshape(tensor.shape).to(tensor.dtype) for part, tensor in pairs))


def _step_result(
    outputs: NetworkOutputs, next_state: RecurrentState, index: int, prepared: PreparedImage
) -> StepResult:
    if not outputs.finite[index]:
        return NonFiniteError("the network's output contains NaN or infinity; the frame was not used")
    pose = outputs.pose[index].double().numpy()
    if np.linalg.norm(pose[3:]) < _MIN_QUATERNION:
        return NonFiniteError(
            f"the network's pose has the quaternion {pose[3:].tolist()}; is it trained?"
        )
    prediction = Prediction(
        outputs.points[index].numpy(),
        outputs.confidence[index].numpy(),
        pose_matrix(pose),
        prepared.image,
        prepared.geometry,
        prepared.timings_s,
    )
    return prediction, next_state.select(index)
