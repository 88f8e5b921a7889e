# SPDX-License-Identifier: Apache-2.0
"""Several streams in one batch: each result equals that of a single stream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from small_networks import LINEAR, good, noise, walk

from ttt3r_ros.errors import ImageError, NonFiniteError
from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network, seeded_network
from ttt3r_ros.model.runtime.backend import TorchBackend
from ttt3r_ros.synthetic.room import ProceduralRoom

if TYPE_CHECKING:
    from ttt3r_ros.model.network.state import RecurrentState
    from ttt3r_ros.types import Prediction, UInt8Array

SEEN_BEFORE = (4, 0, 2)  # images that each stream has met before it joins the others


@pytest.fixture(scope="module")
def packaged() -> TorchBackend:
    return TorchBackend(load_network(PACKAGE_WEIGHTS).network)


@pytest.fixture
def backend() -> TorchBackend:
    return TorchBackend(seeded_network(LINEAR, seed=3))


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch, backend: TorchBackend) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    advance = backend._network.advance

    def seen(view, features, state):
        shapes.append(tuple(view.image.shape))
        return advance(view, features, state)

    monkeypatch.setattr(backend._network, "advance", seen)
    return shapes


def pan(rgb: UInt8Array) -> list[UInt8Array]:
    # A window that moves over one image, because rendering a room takes long.
    return [rgb[6 * k : 6 * k + 360, 16 * k : 16 * k + 480] for k in range(10)]


def deviation(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def worst(found: tuple[Prediction, RecurrentState], alone: tuple[Prediction, RecurrentState]) -> float:
    names = ("points_camera", "confidence", "T_segment_camera")
    of_prediction = [deviation(getattr(found[0], n), getattr(alone[0], n)) for n in names]
    of_state = [
        deviation(getattr(found[1], n).numpy(), getattr(alone[1], n).numpy())
        for n in ("tokens", "memory")
    ]
    return max(of_prediction + of_state)


def test_streams_in_a_batch_equal_single_streams(packaged: TorchBackend) -> None:
    room = ProceduralRoom(width=640, height=480)
    streams = [pan(room.render(index).rgb) for index in (0, 40, 80)]
    together = [walk(packaged, s[:n]) for s, n in zip(streams, SEEN_BEFORE, strict=True)]
    apart = list(together)
    assert [bool(state.fresh) for state in together] == [False, True, False]
    for t in range(5):
        images = [s[n + t] for s, n in zip(streams, SEEN_BEFORE, strict=True)]
        answers = [good(answer) for answer in packaged.step_batch(images, together)]
        alone = [packaged.step(rgb, state) for rgb, state in zip(images, apart, strict=True)]
        assert max(worst(a, b) for a, b in zip(answers, alone, strict=True)) < 1e-4
        together, apart = ([state for _, state in pairs] for pairs in (answers, alone))


def test_images_of_one_network_size_are_one_batch_however_large_they_came(
    backend: TorchBackend, batches: list[tuple[int, ...]]
) -> None:
    images = [noise(0), noise(1, 120, 160), noise(2, 480, 640)]
    answers = backend.step_batch(images, [backend.initial_state()] * 3)
    assert batches == [(3, 3, 48, 64)]
    widths = [good(answer)[0].geometry.source_width for answer in answers]
    assert widths == [80, 160, 640]


def test_images_of_other_sizes_are_batches_of_their_own_and_answers_keep_their_places(
    backend: TorchBackend, batches: list[tuple[int, ...]]
) -> None:
    images = [noise(0), noise(1, 80, 60), noise(2), noise(3, 80, 60), noise(4, 40, 80)]
    states = [walk(backend, [noise(10 + k)]) for k in range(5)]
    batches.clear()
    answers = backend.step_batch(images, states)
    assert batches == [(2, 3, 48, 64), (2, 3, 64, 48), (1, 3, 32, 64)]
    for answer, rgb, state in zip(answers, images, states, strict=True):
        assert worst(good(answer), backend.step(rgb, state)) < 1e-4


@pytest.mark.parametrize("poisoned", [0, 1, 2])
def test_a_stream_without_a_finite_answer_has_its_error_and_the_others_their_answers(
    backend: TorchBackend, poisoned: int
) -> None:
    images = [noise(k) for k in range(3)]
    states = [walk(backend, [noise(10 + k)]) for k in range(3)]
    expected = backend.step_batch(images, states)
    bad = torch.full_like(states[poisoned].tokens, float("nan"))
    states[poisoned] = replace(states[poisoned], tokens=bad)
    for k, (answer, before) in enumerate(zip(backend.step_batch(images, states), expected, strict=True)):
        if k == poisoned:
            assert isinstance(answer, NonFiniteError)
            assert "NaN or infinity" in str(answer)
        else:
            assert worst(good(answer), good(before)) == 0.0


def test_one_step_raises_what_a_batch_returns(backend: TorchBackend) -> None:
    state = walk(backend, [noise(0)])
    bad = replace(state, memory=torch.full_like(state.memory, float("inf")))
    with pytest.raises(NonFiniteError, match="the frame was not used"):
        backend.step(noise(1), bad)


def test_an_image_that_cannot_be_cut_is_refused_before_any_is_shown(
    backend: TorchBackend, batches: list[tuple[int, ...]]
) -> None:
    with pytest.raises(ImageError, match="image 400x20 is too narrow"):
        backend.step_batch([noise(0), noise(1, 20, 400)], [backend.initial_state()] * 2)
    assert batches == []


def test_a_batch_leaves_the_states_it_was_given_unchanged(backend: TorchBackend) -> None:
    states = [walk(backend, [noise(0)]), backend.initial_state()]
    before = [backend.state_arrays(state) for state in states]
    backend.step_batch([noise(1), noise(2)], states)
    for state, arrays in zip(states, before, strict=True):
        for name, array in backend.state_arrays(state).items():
            np.testing.assert_array_equal(array, arrays[name])


def test_every_prediction_of_a_batch_carries_the_times_of_the_batch(backend: TorchBackend) -> None:
    answers = backend.step_batch([noise(0), noise(1)], [backend.initial_state()] * 2)
    first, second = (good(answer)[0].timings_s for answer in answers)
    assert first == second
    assert set(first) == {"preprocess", "network"}
    assert min(first.values()) > 0.0


def test_an_empty_batch_is_no_work(backend: TorchBackend, batches: list[tuple[int, ...]]) -> None:
    assert backend.step_batch([], []) == []
    assert batches == []


def test_as_many_images_as_states_are_needed(backend: TorchBackend) -> None:
    with pytest.raises(ValueError, match="1 images for 0 states"):
        backend.step_batch([noise(0)], [])
