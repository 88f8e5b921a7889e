# SPDX-License-Identifier: Apache-2.0
"""Images are preprocessed and encoded once; the next one is prepared in parallel."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ttt3r_ros.model.runtime import encoder as encoder_module
from ttt3r_ros.model.runtime.encoder import Encoder
from ttt3r_ros.model.runtime.execution import Execution
from ttt3r_ros.model.runtime.preprocessing import InputSize, resize_and_crop

if TYPE_CHECKING:
    from torch import Tensor

    from ttt3r_ros.types import UInt8Array

SIZE = InputSize(32)
GEOMETRY = SIZE.geometry(80, 60)


def noise(seed: int) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (60, 80, 3), np.uint8)


class Means:
    """An encoder that computes means, waits at a gate and records its threads."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.threads: list[str] = []
        self.runs = threading.Semaphore(0)
        self.execution = Execution(self._encode, lambda *_: ())

    def _encode(self, images: Tensor) -> tuple[Tensor]:
        assert self.gate.wait(10.0)
        self.threads.append(threading.current_thread().name)
        self.runs.release()
        return (images.mean(dim=(2, 3))[:, None],)


def new_encoder(means: Means, *, ahead: bool, is_async: bool = False) -> Encoder:
    encoder = Encoder(means.execution, SIZE, torch.device("cpu"), ahead=ahead)
    encoder._is_async = is_async  # simulates a CUDA device
    return encoder


def features(encoder: Encoder, rgb: UInt8Array) -> Tensor:
    (entry,) = encoder.encode([encoder.preprocess(rgb, GEOMETRY)])
    return entry.features


@pytest.fixture
def resizes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the threads that resized an image."""
    threads: list[str] = []

    def record(*arguments: object) -> UInt8Array:
        threads.append(threading.current_thread().name)
        return resize_and_crop(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(encoder_module, "resize_and_crop", record)
    return threads


def test_encode_ahead_uses_another_thread(
    resizes: list[str],
) -> None:
    means = Means()
    encoder = new_encoder(means, ahead=True)
    expected = features(new_encoder(Means(), ahead=False), noise(2))
    resizes.clear()
    encoder.set_next_image_source(lambda: noise(2))
    means.gate.clear()
    encoder.prefetch()
    assert means.threads == [], "prefetch must not block"
    means.gate.set()
    assert torch.equal(features(encoder, noise(2)), expected)
    assert [name.startswith("ttt3r_encoder") for name in means.threads + resizes] == [True, True]


def test_without_encode_ahead_a_cpu_prefetches_nothing() -> None:
    means = Means()
    encoder = new_encoder(means, ahead=False)
    encoder.set_next_image_source(lambda: pytest.fail("the callable must not be called"))
    encoder.prefetch()
    assert means.threads == []


def test_a_prefetched_image_is_resized_once(resizes: list[str]) -> None:
    means = Means()
    encoder = new_encoder(means, ahead=False, is_async=True)
    encoder.set_next_image_source(lambda: noise(2))
    encoder.prefetch()
    assert (len(resizes), means.threads) == (1, [])
    features(encoder, noise(2))
    assert (len(resizes), len(means.threads)) == (1, 1)


def test_the_callable_is_called_once_and_only_by_prefetch() -> None:
    calls = []
    encoder = new_encoder(Means(), ahead=True)
    encoder.set_next_image_source(lambda: calls.append(1))
    assert calls == []
    encoder.prefetch()
    encoder.prefetch()
    assert calls == [1]


@pytest.mark.parametrize("ahead", [False, True])
def test_an_image_that_was_not_prefetched_has_its_own_features(ahead: bool) -> None:
    encoder = new_encoder(Means(), ahead=ahead, is_async=not ahead)
    encoder.set_next_image_source(lambda: noise(2))
    encoder.prefetch()
    assert torch.equal(
        features(encoder, noise(3)), features(new_encoder(Means(), ahead=False), noise(3))
    )
    assert torch.equal(
        features(encoder, noise(2)), features(new_encoder(Means(), ahead=False), noise(2))
    )


@pytest.mark.parametrize("ahead", [False, True])
def test_the_prefetched_array_may_be_overwritten(ahead: bool) -> None:
    encoder = new_encoder(Means(), ahead=ahead, is_async=not ahead)
    buffer = noise(1)
    encoder.set_next_image_source(lambda: buffer)
    encoder.prefetch()
    buffer[:] = 200
    assert encoder.preprocess(buffer, GEOMETRY).min() == 200


@pytest.mark.parametrize("ahead", [False, True])
def test_an_next_image_of_invalid_size_is_ignored(ahead: bool) -> None:
    encoder = new_encoder(Means(), ahead=ahead, is_async=not ahead)
    encoder.set_next_image_source(lambda: np.zeros((1, 600, 3), np.uint8))
    encoder.prefetch()
    assert features(encoder, noise(3)).shape == (1, 1, 3)


def test_an_error_ahead_is_raised_by_the_image_s_own_step() -> None:
    def fail(_: Tensor) -> tuple[Tensor]:
        msg = "out of memory"
        raise RuntimeError(msg)

    encoder = Encoder(Execution(fail, lambda *_: ()), SIZE, torch.device("cpu"), ahead=True)
    encoder.set_next_image_source(lambda: noise(2))
    encoder.prefetch()
    with pytest.raises(RuntimeError, match="out of memory"):
        encoder.preprocess(noise(2), GEOMETRY)


def test_clear_discards_the_prefetched_image() -> None:
    means = Means()
    encoder = new_encoder(means, ahead=True)
    means.gate.clear()
    encoder.set_next_image_source(lambda: noise(2))
    encoder.prefetch()
    encoder.clear()
    means.gate.set()  # the order of the two threads does not matter
    features(encoder, noise(2))
    assert all(means.runs.acquire(timeout=10.0) for _ in range(2))
    assert means.threads.count("MainThread") == 1
