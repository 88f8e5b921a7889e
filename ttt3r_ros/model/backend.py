# SPDX-License-Identifier: Apache-2.0
"""The network on a device, behind the pipeline's `Backend` protocol."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ttt3r_ros.errors import DeviceError, NonFiniteError
from ttt3r_ros.geometry import pose_matrix
from ttt3r_ros.model.image import InputSize, normalised, resize_and_crop
from ttt3r_ros.model.view import View
from ttt3r_ros.types import ImageGeometry, Prediction, UInt8Array

if TYPE_CHECKING:
    from ttt3r_ros.model.network import Ttt3r
    from ttt3r_ros.model.state import RecurrentState
    from ttt3r_ros.model.view import NetworkOutput

logger = logging.getLogger(__name__)

_SQUARE_SIZE = (224, 224)  # the published network of this size was trained on square crops


class TorchBackend:
    """Runs one stream of images. All calls must come from one thread."""

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

    @torch.inference_mode()
    def step(self, rgb: UInt8Array, state: RecurrentState) -> tuple[Prediction, RecurrentState]:
        """Show one image (H, W, 3).

        Raises:
            ImageError: the image cannot be cut to the network's size.
            NonFiniteError: a NaN or an infinity came out; keep using the state that went in.
        """
        started = time.perf_counter()
        geometry = self.size.geometry(rgb.shape[1], rgb.shape[0])
        image = resize_and_crop(rgb, geometry)
        view = View(image=normalised(image).to(self._device))
        prepared = time.perf_counter()

        output, next_state = self._network.step(view, state)
        prediction = _fetched_sync(output, image, geometry)
        if not _is_finite(prediction) or not next_state.is_finite_sync():
            msg = "the network's answer contains NaN or infinity; the frame was not used"
            raise NonFiniteError(msg)
        finished = time.perf_counter()
        timings_s = {"preprocess": prepared - started, "network": finished - prepared}
        return replace(prediction, timings_s=timings_s), next_state


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


def _fetched_sync(output: NetworkOutput, image: UInt8Array, geometry: ImageGeometry) -> Prediction:
    pose = output.pose[0].double().cpu().numpy()
    points = output.camera.points[0].float().cpu().numpy()
    confidence = output.camera.confidence[0].float().cpu().numpy()
    return Prediction(points, confidence, pose_matrix(pose), image, geometry)


def _is_finite(prediction: Prediction) -> bool:
    return bool(
        np.isfinite(prediction.points_camera).all()
        and np.isfinite(prediction.confidence).all()
        and np.isfinite(prediction.T_segment_camera).all()
    )
