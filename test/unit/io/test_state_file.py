# SPDX-License-Identifier: Apache-2.0
"""The recurrent state as arrays, by way of a file, and which weights it belongs to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from fakes import FakeBackend, FakeState
from small_networks import LINEAR, good, noise, walk

from ttt3r_ros.errors import SourceError
from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network, seeded_network
from ttt3r_ros.model.runtime.backend import TorchBackend

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.model.network.state import RecurrentState


@pytest.fixture(scope="module", params=["seeded", "packaged"])
def backend(request: pytest.FixtureRequest) -> TorchBackend:
    packaged = request.param == "packaged"
    network = load_network(PACKAGE_WEIGHTS).network if packaged else seeded_network(LINEAR, seed=3)
    return TorchBackend(network)


def assert_same_future(backend: TorchBackend, one: RecurrentState, other: RecurrentState) -> None:
    for seed in (31, 32):
        (seen, one), (seen_again, other) = (backend.step(noise(seed), s) for s in (one, other))
        for name in ("points_camera", "confidence", "T_segment_camera"):
            np.testing.assert_array_equal(getattr(seen, name), getattr(seen_again, name))
        for name in ("tokens", "memory", "fresh"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def through_a_file(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    np.savez(path, **arrays)
    with np.load(path, allow_pickle=False) as loaded:
        return dict(loaded)


@pytest.mark.parametrize("images", [0, 1, 3])
def test_a_restored_state_goes_on_to_the_last_bit(
    backend: TorchBackend, images: int, tmp_path: Path
) -> None:
    state = walk(backend, [noise(k) for k in range(images)])
    arrays = through_a_file(backend.state_arrays(state), tmp_path / "state.npz")
    assert bool(arrays["fresh"]) == (images == 0)
    assert_same_future(backend, state, backend.state_from_arrays(arrays))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_state_that_went_through_a_batch_is_restored_to_the_last_bit_too(
    backend: TorchBackend, place: int, tmp_path: Path
) -> None:
    answers = backend.step_batch([noise(k) for k in range(3)], [backend.initial_state()] * 3)
    _, state = good(answers[place])
    arrays = through_a_file(backend.state_arrays(state), tmp_path / "state.npz")
    assert {array.shape[0] for array in arrays.values()} == {1}
    assert_same_future(backend, state, backend.state_from_arrays(arrays))


def test_neither_state_nor_arrays_change_with_the_other(backend: TorchBackend) -> None:
    state = walk(backend, [noise(0)])
    arrays = backend.state_arrays(state)
    restored = backend.state_from_arrays(arrays)
    arrays["tokens"][:] = 7.0
    assert torch.equal(restored.tokens, state.tokens)
    assert not (state.tokens == 7.0).all()


def wrong(arrays: dict[str, np.ndarray], name: str, change: Any) -> dict[str, np.ndarray]:
    return {**arrays, name: change(arrays[name])}


def with_infinity(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[0, 0, :2] = np.inf, np.nan
    return array


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: {}, "has nothing; expected fresh bool .*memory float32.*tokens float32"),
        (
            lambda a: {k: a[k] for k in ("tokens", "fresh")},
            "has fresh bool .*, tokens .*; expected fresh",
        ),
        (lambda a: {**a, "seen": np.zeros(1)}, r"seen float64 \(1,\), tokens .*; expected"),
        (
            lambda a: wrong(a, "tokens", lambda t: t[:, 1:]),
            r"tokens float32 \(1, 19, 48\); .*\(1, 20, 48\)",
        ),
        (lambda a: wrong(a, "memory", lambda m: np.repeat(m, 2, 0)), r"memory float32 \(2, 8, 96\)"),
        (lambda a: wrong(a, "memory", lambda m: m.astype(np.float64)), "memory float64"),
        (lambda a: wrong(a, "memory", lambda m: m.astype(">f4")), "memory >f4"),
        (lambda a: wrong(a, "fresh", lambda f: f.astype(np.uint8)), "fresh uint8"),
        (
            lambda a: wrong(a, "tokens", with_infinity),
            "2 values of NaN or infinity in tokens; expected none",
        ),
    ],
)
def test_the_error_on_an_invalid_network_state_contains_the_found_value(change: Any, words: str) -> None:
    backend = TorchBackend(seeded_network(LINEAR))
    arrays = backend.state_arrays(walk(backend, [noise(0)]))
    with pytest.raises(SourceError, match=words):
        backend.state_from_arrays(change(arrays))


def test_a_state_of_another_network_is_refused() -> None:
    larger = TorchBackend(seeded_network(replace(LINEAR, state_size=24)))
    arrays = larger.state_arrays(larger.initial_state())
    with pytest.raises(SourceError, match=r"\(1, 24, 48\); expected .*\(1, 20, 48\)"):
        TorchBackend(seeded_network(LINEAR)).state_from_arrays(arrays)


def test_equal_weights_have_one_id_and_any_other_bit_another() -> None:
    one, same = (TorchBackend(seeded_network(LINEAR)) for _ in range(2))
    network = seeded_network(LINEAR)
    network.pose_token.data[0, 0, 0] = torch.nextafter(network.pose_token[0, 0, 0], torch.tensor(9.0))
    assert one.weights_id == same.weights_id
    assert len(one.weights_id) == 12
    assert TorchBackend(network).weights_id != one.weights_id


def test_the_id_differs_for_other_names_and_shapes_of_the_same_bytes() -> None:
    ids = set()
    for name, shape in (("x", (2, 3)), ("x", (3, 2)), ("y", (2, 3))):
        network = seeded_network(LINEAR)
        network.register_parameter(name, torch.nn.Parameter(torch.zeros(shape)))
        ids.add(TorchBackend(network).weights_id)
    assert len(ids) == 3


def test_the_id_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = TorchBackend(seeded_network(LINEAR))
    first = backend.weights_id
    monkeypatch.setattr(backend._network, "state_dict", lambda: pytest.fail("hashed again"))
    assert backend.weights_id == first


def test_the_fake_backend_saves_its_state() -> None:
    backend = FakeBackend()
    assert backend.state_from_arrays(backend.state_arrays(FakeState(5))) == FakeState(5)
    with pytest.raises(SourceError, match="seen"):
        backend.state_from_arrays({"tokens": np.zeros(1)})
    assert backend.weights_id == "fake"
