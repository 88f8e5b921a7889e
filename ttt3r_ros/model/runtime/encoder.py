# SPDX-License-Identifier: Apache-2.0
"""Images on their way to the network: cut, uploaded, encoded; the next one while the one before is under way."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ttt3r_ros.errors import ImageError
from ttt3r_ros.model.runtime.preprocessing import normalized, resize_and_crop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ttt3r_ros.model.runtime.execution import Execution
    from ttt3r_ros.model.runtime.preprocessing import InputSize
    from ttt3r_ros.types import ImageGeometry, UInt8Array, Upcoming

_KEPT = 8  # the newest images whose features are kept: shown again at a reset, or prepared ahead


@dataclass(frozen=True)
class EncodedImage:
    """An image cut to the network's size, as it is and on the device, and its features."""

    image: UInt8Array  # (h, w, 3)
    tensor: Tensor  # (1, 3, h, w)
    features: Tensor  # (1, N, F)
    ready: torch.cuda.Event | None = (
        None  # on a CUDA device: both tensors hold their values from here on
    )


class _Coming(NamedTuple):
    """An image that is prepared before it is shown."""

    rgb: UInt8Array  # (H, W, 3) a copy: a camera may write its next image into the same array
    prepared: Callable[[], tuple[UInt8Array, EncodedImage | None]]  # as far as it is; may wait


class Encoder:
    """Cuts and encodes images for one network. All calls must come from one thread.

    With ``encode_ahead`` the next image is encoded beside the current one: on a CUDA device by a stream of its own, on
    a processor by a thread, while the caller goes on with the results. Without it a CUDA device works while it is cut.
    """

    def __init__(
        self, execution: Execution, size: InputSize, device: torch.device, *, encode_ahead: bool
    ) -> None:
        self._execution = execution
        self._size = size
        self._device = device
        self._waits = device.type == "cuda"  # for the device, and may do something else meanwhile
        self._kept: deque[EncodedImage] = deque(maxlen=_KEPT)
        self._upcoming: Upcoming | None = None
        self._coming: _Coming | None = None
        self._stream = torch.cuda.Stream(device) if encode_ahead and self._waits else None
        # A new thread takes over torch's number of threads when it first asks for it.
        self._thread = (
            ThreadPoolExecutor(1, "ttt3r_encoder", torch.get_num_threads)
            if encode_ahead and not self._waits
            else None
        )

    def announce(self, upcoming: Upcoming) -> None:
        """Say whom to ask for the image after the next one, once there is time to prepare it."""
        self._upcoming = upcoming

    def cut(self, rgb: UInt8Array, geometry: ImageGeometry) -> UInt8Array:
        """Return the network's image (h, w, 3) of a source image (H, W, 3)."""
        if self._coming is None or not _same(self._coming.rgb, rgb):
            return resize_and_crop(rgb, geometry)
        coming, self._coming = self._coming, None
        image, encoded = coming.prepared()
        if encoded is not None:
            self._kept.append(encoded)
        return image

    def encode(self, cut: Sequence[UInt8Array]) -> list[EncodedImage]:
        """Return the features of network images (h, w, 3) of one size; those that are known are not made again."""
        found = [self._known(image) for image in cut]
        new = [index for index, entry in enumerate(found) if entry is None]
        if new:
            tensors = torch.cat([self._uploaded(cut[index]) for index in new])
            features = self._execution.encode(tensors)
            for row, index in enumerate(new):
                one = slice(row, row + 1)
                found[index] = EncodedImage(cut[index], tensors[one], features[one])
        entries = [entry for entry in found if entry is not None]
        for entry in entries:
            if entry.ready is not None:
                torch.cuda.current_stream().wait_event(entry.ready)
        self._kept.extend(entries[index] for index in new)
        return entries

    def look_ahead(self) -> None:
        """Ask for the announced image and prepare it, as far as something else is at work meanwhile."""
        upcoming, self._upcoming = self._upcoming, None
        if upcoming is None or not (self._waits or self._thread):
            return
        rgb = upcoming()
        if rgb is None:
            return
        try:
            geometry = self._size.geometry(rgb.shape[1], rgb.shape[0])
        except ImageError:  # its own step says so
            return
        self._coming = self._begun(rgb.copy(), geometry)

    def forget(self) -> None:
        """Forget all images."""
        self._kept.clear()
        self._coming = None

    def _begun(self, rgb: UInt8Array, geometry: ImageGeometry) -> _Coming:
        if self._thread is not None:
            return _Coming(rgb, self._thread.submit(self._prepared, rgb, geometry).result)
        image = resize_and_crop(rgb, geometry)
        encoded = self._encoded_on(self._stream, image) if self._stream is not None else None
        return _Coming(rgb, lambda: (image, encoded))

    @torch.inference_mode()
    def _prepared(self, rgb: UInt8Array, geometry: ImageGeometry) -> tuple[UInt8Array, EncodedImage]:
        image = resize_and_crop(rgb, geometry)
        tensor = self._uploaded(image)
        return image, EncodedImage(image, tensor, self._execution.encode(tensor))

    def _encoded_on(self, stream: torch.cuda.Stream, image: UInt8Array) -> EncodedImage:
        with torch.cuda.stream(stream):
            tensor = self._uploaded(image)
            features = self._execution.encode(tensor)
            ready = stream.record_event()
        for made_ahead in (tensor, features):
            made_ahead.record_stream(torch.cuda.current_stream())
        return EncodedImage(image, tensor, features, ready)

    def _known(self, image: UInt8Array) -> EncodedImage | None:
        return next((entry for entry in self._kept if _same(entry.image, image)), None)

    def _uploaded(self, image: UInt8Array) -> Tensor:
        tensor = normalized(image).contiguous()  # the layout decides how a convolution adds up
        if self._device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)


def _same(a: UInt8Array, b: UInt8Array) -> bool:
    # The first row alone tells nearly all images apart, in a hundredth of the time.
    return np.array_equal(a[0], b[0]) and np.array_equal(a, b)
