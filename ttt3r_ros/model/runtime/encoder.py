# SPDX-License-Identifier: Apache-2.0
"""Preprocess, upload and encode images; optionally encode the next image while the current one is mapped."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ttt3r_ros.errors import ImageError
from ttt3r_ros.model.runtime.preprocessing import normalize_image, resize_and_crop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ttt3r_ros.backend import NextImageSource
    from ttt3r_ros.model.runtime.execution import Execution
    from ttt3r_ros.model.runtime.preprocessing import InputSize
    from ttt3r_ros.types import ImageGeometry, UInt8Array

_CACHE_SIZE = 8  # newest images whose features are cached: run again at a state reset, or encoded ahead


@dataclass(frozen=True)
class EncodedImage:
    """An image at the network's size, in host memory and on the device, and its features."""

    image: UInt8Array  # (h, w, 3)
    tensor: Tensor  # (1, 3, h, w)
    features: Tensor  # (1, N, F)
    ready: torch.cuda.Event | None = None  # on a CUDA device: recorded when both tensors are complete


class _Prefetched(NamedTuple):
    """An image that is prepared ahead of its step."""

    rgb: UInt8Array  # (H, W, 3) a copy: a camera driver may reuse its buffer
    result: Callable[[], tuple[UInt8Array, EncodedImage | None]]  # waits for the preparation


class Encoder:
    """Preprocesses and encodes images for one network. All calls must come from one thread.

    With ``ahead`` the next image is encoded while the current one is mapped: on a second CUDA stream, or on a CPU
    thread. Without it a CUDA device still computes the current image while the next one is preprocessed.
    """

    def __init__(
        self, execution: Execution, size: InputSize, device: torch.device, *, ahead: bool
    ) -> None:
        self._execution = execution
        self._size = size
        self._device = device
        self._is_async = device.type == "cuda"
        self._cache: deque[EncodedImage] = deque(maxlen=_CACHE_SIZE)
        self._next_image_source: NextImageSource | None = None
        self._prefetched: _Prefetched | None = None
        self._stream = torch.cuda.Stream(device) if ahead and self._is_async else None
        # A new thread adopts torch's thread count at its first query.
        self._thread = (
            ThreadPoolExecutor(1, "ttt3r_encoder", torch.get_num_threads)
            if ahead and not self._is_async
            else None
        )

    def set_next_image_source(self, source: NextImageSource) -> None:
        """Register the source of the image after the next one; `prefetch` calls it once at most."""
        self._next_image_source = source

    def preprocess(self, rgb: UInt8Array, geometry: ImageGeometry) -> UInt8Array:
        """Resize and crop a source image (H, W, 3) to the network's image (h, w, 3)."""
        if self._prefetched is None or not _is_equal(self._prefetched.rgb, rgb):
            return resize_and_crop(rgb, geometry)
        prefetched, self._prefetched = self._prefetched, None
        image, encoded = prefetched.result()
        if encoded is not None:
            self._cache.append(encoded)
        return image

    def encode(self, images: Sequence[UInt8Array]) -> list[EncodedImage]:
        """Return the features of network images (h, w, 3) of one size; cached features are reused."""
        found = [self._find_cached(image) for image in images]
        new = [index for index, entry in enumerate(found) if entry is None]
        if new:
            tensors = torch.cat([self._upload(images[index]) for index in new])
            features = self._execution.encode(tensors)
            for row, index in enumerate(new):
                one = slice(row, row + 1)
                found[index] = EncodedImage(images[index], tensors[one], features[one])
        entries = [entry for entry in found if entry is not None]
        for entry in entries:
            if entry.ready is not None:
                torch.cuda.current_stream().wait_event(entry.ready)
        self._cache.extend(entries[index] for index in new)
        return entries

    def prefetch(self) -> None:
        """Prepare the next image if a device or a thread can work in parallel."""
        next_image, self._next_image_source = self._next_image_source, None
        if next_image is None or not (self._is_async or self._thread):
            return
        rgb = next_image()
        if rgb is None:
            return
        try:
            geometry = self._size.geometry(rgb.shape[1], rgb.shape[0])
        except ImageError:  # its own step reports it
            return
        self._prefetched = self._start(rgb.copy(), geometry)

    def clear(self) -> None:
        """Remove all cached and prefetched images."""
        self._cache.clear()
        self._prefetched = None

    def _start(self, rgb: UInt8Array, geometry: ImageGeometry) -> _Prefetched:
        if self._thread is not None:
            return _Prefetched(rgb, self._thread.submit(self._prepare, rgb, geometry).result)
        image = resize_and_crop(rgb, geometry)
        encoded = self._encode_on(self._stream, image) if self._stream is not None else None
        return _Prefetched(rgb, lambda: (image, encoded))

    @torch.inference_mode()
    def _prepare(self, rgb: UInt8Array, geometry: ImageGeometry) -> tuple[UInt8Array, EncodedImage]:
        image = resize_and_crop(rgb, geometry)
        tensor = self._upload(image)
        return image, EncodedImage(image, tensor, self._execution.encode(tensor))

    def _encode_on(self, stream: torch.cuda.Stream, image: UInt8Array) -> EncodedImage:
        with torch.cuda.stream(stream):
            tensor = self._upload(image)
            features = self._execution.encode(tensor)
            ready = stream.record_event()
        for tensor_ahead in (tensor, features):
            tensor_ahead.record_stream(torch.cuda.current_stream())
        return EncodedImage(image, tensor, features, ready)

    def _find_cached(self, image: UInt8Array) -> EncodedImage | None:
        return next((entry for entry in self._cache if _is_equal(entry.image, image)), None)

    def _upload(self, image: UInt8Array) -> Tensor:
        tensor = normalize_image(
            image
        ).contiguous()  # the memory layout decides the summation order of a convolution
        if self._device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)


def _is_equal(a: UInt8Array, b: UInt8Array) -> bool:
    # Comparing the first row rejects nearly all other images in a hundredth of the time.
    return np.array_equal(a[0], b[0]) and np.array_equal(a, b)
