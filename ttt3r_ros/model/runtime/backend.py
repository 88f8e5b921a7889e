# SPDX-License-Identifier: Apache-2.0
"""The network on a device, behind the pipeline's `Backend` protocol."""

from __future__ import annotations

import hashlib
import logging
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ttt3r_ros.errors import DeviceError, NonFiniteError
from ttt3r_ros.geometry import pose_matrix
from ttt3r_ros.model.network.state import RecurrentState, joined, state_from_arrays
from ttt3r_ros.model.runtime.encoder import Encoder
from ttt3r_ros.model.runtime.execution import Shown, execution
from ttt3r_ros.model.runtime.precision import use_precision
from ttt3r_ros.model.runtime.preprocessing import InputSize
from ttt3r_ros.types import ImageGeometry, Prediction, UInt8Array, Upcoming

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from ttt3r_ros.model.network.network import Ttt3r

logger = logging.getLogger(__name__)

_SQUARE_SIZE = (224, 224)  # the published network of this size was trained on square crops
_ID_DIGITS = 12

Answer = tuple[Prediction, RecurrentState] | NonFiniteError

_USUAL_SIZE = (640, 480)  # of a camera that has not sent an image yet


class Seen(NamedTuple):
    """What is known of an image without the network."""

    image: UInt8Array  # (h, w, 3) the network's own
    geometry: ImageGeometry
    timings_s: Mapping[str, float]


class TorchBackend:
    """Runs streams of images, alone or several at once. All calls must come from one thread.

    ``network`` is taken over: its arithmetic is changed in place. ``mode`` is one that `resolve_compile` gives.
    Its graphs run parts ``side_by_side`` on a processor that has cores to spare. With ``encode_ahead`` an announced
    image is encoded beside the one before it.
    """

    def __init__(
        self,
        network: Ttt3r,
        device: str = "cpu",
        long_edge: int = 0,
        reset_interval: int = 0,
        *,
        pose_source: str = "network",
        precision: str = "float32",
        mode: str = "none",
        side_by_side: bool = False,
        encode_ahead: bool = False,
    ) -> None:
        self.weights_id = network_id(network)
        self.size = input_size(network, long_edge)
        self.reset_interval = reset_interval
        self.pose_source = pose_source
        self._device = torch.device(device)
        self._network = use_precision(network.eval(), precision).to(self._device)
        with torch.inference_mode(), self._current():
            self._execution = execution(self._network, mode, side_by_side=side_by_side)
            self._encoder = Encoder(self._execution, self.size, self._device, encode_ahead=encode_ahead)
            self._fresh = self._network.initial_state()

    def _current(self) -> AbstractContextManager[object]:
        """Return a context in which streams, events and recordings are those of this device, not of the first."""
        return torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()

    @property
    def device(self) -> str:
        """Return the name of the device."""
        return str(self._device)

    def initial_state(self) -> RecurrentState:
        """Return the state before the first image of a segment."""
        return self._fresh

    def warm_up(self, cameras: int = 1) -> None:
        """Compile and record for usual images of up to so many cameras, so that no frame waits for it."""
        gray = np.full((_USUAL_SIZE[1], _USUAL_SIZE[0], 3), 127, np.uint8)
        for batch in range(1, cameras + 1):
            self.step_many([gray] * batch, [self.initial_state()] * batch)
            self._encoder.forget()

    def announce(self, upcoming: Upcoming) -> None:
        """Say whom to ask for the image after the next one that is shown, once there is time to prepare it."""
        self._encoder.announce(upcoming)

    def step(self, rgb: UInt8Array, state: RecurrentState) -> tuple[Prediction, RecurrentState]:
        """Show one image (H, W, 3).

        Raises:
            ImageError: the image cannot be cut to the network's size.
            NonFiniteError: a NaN or an infinity came out; keep using the state that went in.
        """
        (answer,) = self.step_many([rgb], [state])
        if isinstance(answer, NonFiniteError):
            raise answer
        return answer

    @torch.inference_mode()
    def step_many(self, images: Sequence[UInt8Array], states: Sequence[RecurrentState]) -> list[Answer]:
        """Show each state its image (H, W, 3); those of one network size go through as one batch.

        Timings are those of the batch. A stream without a finite answer has its error in its place.

        Raises:
            ImageError: an image cannot be cut to the network's size; none was shown.
        """
        if len(images) != len(states):
            msg = f"{len(images)} images for {len(states)} states; expected as many"
            raise ValueError(msg)
        geometries = [self.size.geometry(rgb.shape[1], rgb.shape[0]) for rgb in images]
        batches: dict[tuple[int, int], list[int]] = {}
        for index, geometry in enumerate(geometries):
            batches.setdefault((geometry.width, geometry.height), []).append(index)
        answers: dict[int, Answer] = {}
        for indices in batches.values():
            streams = [(images[k], geometries[k], states[k]) for k in indices]
            with self._current():
                found = self._step_batch(*zip(*streams, strict=True))
            answers.update(zip(indices, found, strict=True))
        return [answers[index] for index in range(len(images))]

    def _step_batch(
        self,
        images: tuple[UInt8Array, ...],
        geometries: tuple[ImageGeometry, ...],
        states: tuple[RecurrentState, ...],
    ) -> list[Answer]:
        started = time.perf_counter()
        cut = [
            self._encoder.cut(rgb, geometry) for rgb, geometry in zip(images, geometries, strict=True)
        ]
        prepared = time.perf_counter()

        encoded = self._encoder.encode(cut)
        shown, after = self._execution.advance(
            torch.cat([entry.tensor for entry in encoded]),
            torch.cat([entry.features for entry in encoded]),
            joined(states),
        )
        self._encoder.look_ahead()
        on_host = fetched_sync(shown)
        finished = time.perf_counter()

        timings_s = {"preprocess": prepared - started, "network": finished - prepared}
        return [
            _answer(on_host, after, index, Seen(image, geometry, timings_s))
            for index, (image, geometry) in enumerate(zip(cut, geometries, strict=True))
        ]

    @torch.inference_mode()
    def state_arrays(self, state: RecurrentState) -> dict[str, NDArray[Any]]:
        """Return a state as arrays: tokens and memory as float32, fresh as bool."""
        return state.arrays_sync()

    @torch.inference_mode()
    def state_from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> RecurrentState:
        """Return the state that `state_arrays` gave, to the last bit.

        Raises:
            SourceError: it is not a state of such a network, or not finite.
        """
        return state_from_arrays(arrays, self._network.initial_state())


def network_id(network: Ttt3r) -> str:
    """Return the first digits of the SHA-256 of names, shapes and values of a network's tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().flatten().numpy())
    return digest.hexdigest()[:_ID_DIGITS]


def input_size(network: Ttt3r, long_edge: int = 0) -> InputSize:
    """Return the image size of a network; ``long_edge`` [px] overrides its own."""
    config = network.config
    return InputSize(
        long_edge=long_edge or max(config.img_size),
        square=tuple(config.img_size) == _SQUARE_SIZE and long_edge in (0, max(_SQUARE_SIZE)),
        patch=config.patch_size,
    )


def resolve_device(requested: str) -> str:
    """Return the device to use; only 'auto' may settle for the processor.

    Raises:
        DeviceError: the device is unknown or absent.
    """
    cuda = torch.cuda.is_available()
    if requested == "auto":
        return "cuda" if cuda else "cpu"
    try:
        device = torch.device(requested)
    except RuntimeError as error:
        msg = f"device '{requested}' is not one of auto, cpu, cuda, cuda:N"
        raise DeviceError(msg) from error
    if device.type not in ("cpu", "cuda"):
        msg = f"device '{requested}' is not one of auto, cpu, cuda, cuda:N"
        raise DeviceError(msg)
    if device.type == "cuda" and (not cuda or (device.index or 0) >= torch.cuda.device_count()):
        count = torch.cuda.device_count() if cuda else 0
        msg = f"device '{requested}' was asked for, but torch finds {count} CUDA devices; 'auto' may use the processor"
        raise DeviceError(msg)
    return requested


def cuda_devices() -> int:
    """Return how many CUDA devices there are."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def memory_bytes(device: str) -> int:
    """Return the memory torch holds on a CUDA device; 0 for the processor."""
    return int(torch.cuda.memory_reserved(device)) if device.startswith("cuda") else 0


def fetched_sync(shown: Shown) -> Shown:
    """Return the same on the host, by one transfer; waits for the device."""
    if shown.points.device.type != "cuda":
        return shown
    flat = _packed(shown)
    host = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True)
    host.copy_(flat, non_blocking=True)
    torch.cuda.current_stream().synchronize()
    return _unpacked(host, shown)


def _packed(shown: Shown) -> Tensor:
    """Return all of it as one float32 tensor (B, values)."""
    return torch.cat([tensor.reshape(len(tensor), -1).float() for tensor in shown], dim=1)


def _unpacked(flat: Tensor, like: Shown) -> Shown:
    """Return what `_packed` made into one tensor, in the shapes and types of ``like``."""
    parts = flat.split([tensor[0].numel() for tensor in like], dim=1)
    pairs = zip(parts, like, strict=True)
    return Shown(*(part.reshape(tensor.shape).to(tensor.dtype) for part, tensor in pairs))


def _answer(shown: Shown, after: RecurrentState, index: int, seen: Seen) -> Answer:
    if not shown.finite[index]:
        return NonFiniteError("the network's answer contains NaN or infinity; the frame was not used")
    prediction = Prediction(
        shown.points[index].numpy(),
        shown.confidence[index].numpy(),
        pose_matrix(shown.pose[index].double().numpy()),
        seen.image,
        seen.geometry,
        seen.timings_s,
    )
    return prediction, after.member(index)
