# SPDX-License-Identifier: Apache-2.0
"""The network on a device, behind the pipeline's `Backend` protocol."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ttt3r_ros.errors import DeviceError, NonFiniteError
from ttt3r_ros.geometry import pose_matrix
from ttt3r_ros.model.image import InputSize, normalised, resize_and_crop
from ttt3r_ros.model.state import RecurrentState, joined, state_from_arrays
from ttt3r_ros.model.view import View
from ttt3r_ros.types import ImageGeometry, Prediction, UInt8Array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ttt3r_ros.model.network import Ttt3r
    from ttt3r_ros.model.view import NetworkOutput

logger = logging.getLogger(__name__)

_SQUARE_SIZE = (224, 224)  # the published network of this size was trained on square crops
_ID_DIGITS = 12

Answer = tuple[Prediction, RecurrentState] | NonFiniteError


@dataclass(frozen=True)
class _Stream:
    """One stream's part in a batch."""

    rgb: UInt8Array  # (H, W, 3)
    geometry: ImageGeometry
    state: RecurrentState


class TorchBackend:
    """Runs streams of images, alone or several at once. All calls must come from one thread."""

    def __init__(
        self, network: Ttt3r, device: str = "cpu", long_edge: int = 0, reset_interval: int = 0
    ) -> None:
        self._device = torch.device(device)
        self._network = network.eval().to(self._device)
        self.size = input_size(network, long_edge)
        self.reset_interval = reset_interval

    @property
    def device(self) -> str:
        """Return the name of the device."""
        return str(self._device)

    @torch.inference_mode()
    def initial_state(self) -> RecurrentState:
        """Return the state before the first image of a segment."""
        return self._network.initial_state()

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
        streams = [
            _Stream(rgb, self.size.geometry(rgb.shape[1], rgb.shape[0]), state)
            for rgb, state in zip(images, states, strict=True)
        ]
        batches: dict[tuple[int, int], list[int]] = {}
        for index, stream in enumerate(streams):
            batches.setdefault((stream.geometry.width, stream.geometry.height), []).append(index)
        answers: dict[int, Answer] = {}
        for indices in batches.values():
            answers.update(zip(indices, self._step_batch([streams[k] for k in indices]), strict=True))
        return [answers[index] for index in range(len(streams))]

    def _step_batch(self, streams: Sequence[_Stream]) -> list[Answer]:
        started = time.perf_counter()
        cut = [resize_and_crop(stream.rgb, stream.geometry) for stream in streams]
        view = View(image=torch.cat([normalised(image) for image in cut]).to(self._device))
        prepared = time.perf_counter()

        output, after = self._network.step(view, joined([stream.state for stream in streams]))
        answers = [
            _answer_sync(output, after, index, image, stream.geometry)
            for index, (image, stream) in enumerate(zip(cut, streams, strict=True))
        ]
        finished = time.perf_counter()
        timings_s = {"preprocess": prepared - started, "network": finished - prepared}
        return [_timed(answer, timings_s) for answer in answers]

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

    @cached_property
    def weights_id(self) -> str:
        """Return the first digits of the SHA-256 of names, shapes and values of the network's tensors."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._network.state_dict().items()):
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


def set_threads(count: int) -> None:
    """Limit the processor threads of torch, process-wide; 0 leaves them alone."""
    if count:
        torch.set_num_threads(count)


def memory_bytes(device: str) -> int:
    """Return the memory torch holds on a CUDA device; 0 for the processor."""
    return int(torch.cuda.memory_reserved(device)) if device.startswith("cuda") else 0


def _answer_sync(
    output: NetworkOutput, after: RecurrentState, index: int, image: UInt8Array, geometry: ImageGeometry
) -> Answer:
    prediction = _fetched_sync(output, index, image, geometry)
    next_state = after.member(index)
    if not _is_finite(prediction) or not next_state.is_finite_sync():
        return NonFiniteError("the network's answer contains NaN or infinity; the frame was not used")
    return prediction, next_state


def _timed(answer: Answer, timings_s: Mapping[str, float]) -> Answer:
    if isinstance(answer, NonFiniteError):
        return answer
    prediction, next_state = answer
    return replace(prediction, timings_s=timings_s), next_state


def _fetched_sync(
    output: NetworkOutput, index: int, image: UInt8Array, geometry: ImageGeometry
) -> Prediction:
    pose = output.pose[index].double().cpu().numpy()
    points = output.camera.points[index].float().cpu().numpy()
    confidence = output.camera.confidence[index].float().cpu().numpy()
    return Prediction(points, confidence, pose_matrix(pose), image, geometry)


def _is_finite(prediction: Prediction) -> bool:
    return bool(
        np.isfinite(prediction.points_camera).all()
        and np.isfinite(prediction.confidence).all()
        and np.isfinite(prediction.T_segment_camera).all()
    )
