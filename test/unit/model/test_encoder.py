# SPDX-License-Identifier: Apache-2.0
"""Images are cut and encoded once; the next one is prepared while something else is at work."""

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
    """An encoder of means, which waits at a gate; remembers who ran it."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.threads: list[str] = []
        self.execution = Execution(self._encode, lambda *_: ())

    def _encode(self, images: Tensor) -> tuple[Tensor]:
        assert self.gate.wait(10.0)
        self.threads.append(threading.current_thread().name)
        return (images.mean(dim=(2, 3))[:, None],)


def made(means: Means, *, encode_ahead: bool = False, waits: bool = False) -> Encoder:
    encoder = Encoder(means.execution, SIZE, torch.device("cpu"), encode_ahead=encode_ahead)
    encoder._waits = waits  # as if for a device that works by itself
    return encoder


def features(encoder: Encoder, rgb: UInt8Array) -> Tensor:
    (entry,) = encoder.encode([encoder.cut(rgb, GEOMETRY)])
    return entry.features


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the threads in which an image was cut."""
    threads: list[str] = []

    def counted(*arguments: object) -> UInt8Array:
        threads.append(threading.current_thread().name)
        return resize_and_crop(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(encoder_module, "resize_and_crop", counted)
    return threads


def test_with_encode_ahead_the_next_image_is_encoded_on_another_thread(
    cuts: list[str],
) -> None:
    means = Means()
    encoder = made(means, encode_ahead=True)
    expected = features(made(Means()), noise(2))
    cuts.clear()
    encoder.announce(lambda: noise(2))
    means.gate.clear()
    encoder.look_ahead()
    assert means.threads == [], "it is under way, and the caller is here"
    means.gate.set()
    assert torch.equal(features(encoder, noise(2)), expected)
    assert [name.startswith("ttt3r_encoder") for name in means.threads + cuts] == [True, True]


def test_without_encode_ahead_a_cpu_requests_no_next_image() -> None:
    means = Means()
    encoder = made(means)
    encoder.announce(lambda: pytest.fail("nobody has time for it"))
    encoder.look_ahead()
    assert means.threads == []


def test_while_a_device_works_the_announced_image_is_cut_and_not_cut_again(cuts: list[str]) -> None:
    means = Means()
    encoder = made(means, waits=True)
    encoder.announce(lambda: noise(2))
    encoder.look_ahead()
    assert (len(cuts), means.threads) == (1, [])
    features(encoder, noise(2))
    assert (len(cuts), len(means.threads)) == (1, 1)


def test_an_image_is_asked_for_only_when_there_is_time_for_it_and_only_once() -> None:
    asked = []
    encoder = made(Means(), encode_ahead=True)
    encoder.announce(lambda: asked.append(1))
    assert asked == []
    encoder.look_ahead()
    encoder.look_ahead()
    assert asked == [1]


@pytest.mark.parametrize("encode_ahead", [False, True])
def test_another_image_than_the_announced_one_gets_its_own_features(encode_ahead: bool) -> None:
    encoder = made(Means(), encode_ahead=encode_ahead, waits=not encode_ahead)
    encoder.announce(lambda: noise(2))
    encoder.look_ahead()
    assert torch.equal(features(encoder, noise(3)), features(made(Means()), noise(3)))
    assert torch.equal(features(encoder, noise(2)), features(made(Means()), noise(2)))


@pytest.mark.parametrize("encode_ahead", [False, True])
def test_a_camera_may_write_its_next_image_into_the_same_array(encode_ahead: bool) -> None:
    encoder = made(Means(), encode_ahead=encode_ahead, waits=not encode_ahead)
    buffer = noise(1)
    encoder.announce(lambda: buffer)
    encoder.look_ahead()
    buffer[:] = 200
    assert encoder.cut(buffer, GEOMETRY).min() == 200


@pytest.mark.parametrize("encode_ahead", [False, True])
def test_an_announced_image_that_cannot_be_cut_harms_no_other(encode_ahead: bool) -> None:
    encoder = made(Means(), encode_ahead=encode_ahead, waits=not encode_ahead)
    encoder.announce(lambda: np.zeros((1, 600, 3), np.uint8))
    encoder.look_ahead()
    assert features(encoder, noise(3)).shape == (1, 1, 3)


def test_what_fails_ahead_is_told_when_the_image_is_shown() -> None:
    def fail(_: Tensor) -> tuple[Tensor]:
        msg = "out of memory"
        raise RuntimeError(msg)

    encoder = Encoder(Execution(fail, lambda *_: ()), SIZE, torch.device("cpu"), encode_ahead=True)
    encoder.announce(lambda: noise(2))
    encoder.look_ahead()
    with pytest.raises(RuntimeError, match="out of memory"):
        encoder.cut(noise(2), GEOMETRY)


def test_what_was_prepared_is_forgotten_on_demand() -> None:
    means = Means()
    encoder = made(means, encode_ahead=True)
    means.gate.clear()
    encoder.announce(lambda: noise(2))
    encoder.look_ahead()
    encoder.forget()
    means.gate.set()  # whichever of the two goes first
    features(encoder, noise(2))
    assert means.threads.count("MainThread") == 1
