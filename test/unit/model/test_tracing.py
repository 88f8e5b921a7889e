# SPDX-License-Identifier: Apache-2.0
"""A recorded function gives what the function gives, and runs without it."""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from functools import partial

import pytest
import torch
from torch import Tensor

from ttt3r_ros.model.runtime.tracing import Traced, on_two_threads


def products(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    left, right = on_two_threads(partial(torch.matmul, a, b), partial(torch.matmul, b, a))
    return left + right, 2 * left


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by every call of `products`."""
    calls: list[int] = []
    as_written = products

    def counted(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(1)
        return as_written(a, b)

    monkeypatch.setattr(sys.modules[__name__], "products", counted)
    return calls


def test_once_recorded_a_function_is_not_called_any_more_and_gives_the_same_of_new_values(
    calls: list[int],
) -> None:
    recorded = Traced(products)
    with torch.inference_mode():
        for count in range(5):
            values = torch.rand(4, 4), torch.rand(4, 4)
            found = recorded(*values)
            assert len(calls) == 2 + count, "as it is and recorded, then for comparison alone"
            assert all(map(torch.equal, found, products(*values)))


def test_every_shape_has_a_recording_of_its_own(calls: list[int]) -> None:
    recorded = Traced(products)
    with torch.inference_mode():
        for size in (2, 3, 2, 3):
            values = torch.rand(size, size), torch.rand(size, size)
            found = recorded(*values)
            assert [part.shape for part in found] == [(size, size)] * 2
    assert len(calls) == 2 * 2


def test_results_stay_values_when_the_next_ones_are_made() -> None:
    recorded = Traced(lambda x: (x + 1, x))
    with torch.inference_mode():
        first = recorded(torch.zeros(3))[0]
        for _ in range(5):
            recorded(torch.ones(3))
        assert first.tolist() == [1.0, 1.0, 1.0]


def test_in_a_recording_the_second_part_is_a_task_of_its_own() -> None:
    recorded = Traced(products)
    with torch.inference_mode():
        recorded(torch.rand(2, 2), torch.rand(2, 2))
    (graph,) = recorded._recordings.values()
    assert str(graph.graph).count("= prim::fork") == 1


def test_the_weights_of_a_recording_go_when_it_goes() -> None:
    layer = torch.nn.Linear(3, 3)
    layer.requires_grad_(requires_grad=False)
    weight = weakref.ref(layer.weight)

    def through(x: Tensor, layer: torch.nn.Module = layer) -> tuple[Tensor]:
        return (layer(x),)

    recorded = Traced(through)
    with torch.inference_mode():
        recorded(torch.zeros(1, 3))
    del layer, through, recorded
    gc.collect()
    assert weight() is None


def test_where_nothing_can_be_recorded_one_line_says_so_and_the_function_runs_as_written(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "TorchScript is gone\nand so is the rest of this message"
        raise RuntimeError(msg)

    monkeypatch.setattr(torch._C, "_create_graph_by_tracing", refuse)
    recorded = Traced(lambda x: (x + 1,))
    with caplog.at_level(logging.WARNING):
        found = [recorded(torch.zeros(1))[0].item() for _ in range(3)]
    assert found == [1.0, 1.0, 1.0]
    (record,) = caplog.records
    assert record.getMessage() == (
        "TorchScript records no graph here, the network runs as written: TorchScript is gone"
    )
