# SPDX-License-Identifier: Apache-2.0
"""A traced function gives what the function gives, and runs without it."""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from functools import partial

import pytest
import torch
from torch import Tensor

from ttt3r_ros.model.runtime.graph_cache import MAX_GRAPHS, GraphCache
from ttt3r_ros.model.runtime.tracing import TracedFunction, run_on_two_threads


def products(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    left, right = run_on_two_threads(partial(torch.matmul, a, b), partial(torch.matmul, b, a))
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


def test_once_traced_a_function_is_not_called_any_more_and_gives_the_same_of_new_values(
    calls: list[int],
) -> None:
    traced = TracedFunction(products)
    with torch.inference_mode():
        for count in range(5):
            values = torch.rand(4, 4), torch.rand(4, 4)
            found = traced(*values)
            assert len(calls) == 2 + count, (
                "one eager call, one traced call, then the comparisons of this test"
            )
            assert all(map(torch.equal, found, products(*values)))


def test_every_shape_has_its_own_graph(calls: list[int]) -> None:
    traced = TracedFunction(products)
    with torch.inference_mode():
        for size in (2, 3, 2, 3):
            values = torch.rand(size, size), torch.rand(size, size)
            found = traced(*values)
            assert [part.shape for part in found] == [(size, size)] * 2
    assert len(calls) == 2 * 2


def test_results_do_not_change_with_later_calls() -> None:
    traced = TracedFunction(lambda x: (x + 1, x))
    with torch.inference_mode():
        first = traced(torch.zeros(3))[0]
        for _ in range(5):
            traced(torch.ones(3))
        assert first.tolist() == [1.0, 1.0, 1.0]


def test_a_graph_forks_the_second_function() -> None:
    traced = TracedFunction(products)
    with torch.inference_mode():
        traced(torch.rand(2, 2), torch.rand(2, 2))
    (graph,) = traced._graphs._graphs.values()
    assert str(graph.graph).count("= prim::fork") == 1


def test_the_weights_of_a_graph_are_freed_with_it() -> None:
    layer = torch.nn.Linear(3, 3)
    layer.requires_grad_(requires_grad=False)
    weight = weakref.ref(layer.weight)

    def through(x: Tensor, layer: torch.nn.Module = layer) -> tuple[Tensor]:
        return (layer(x),)

    traced = TracedFunction(through)
    with torch.inference_mode():
        traced(torch.zeros(1, 3))
    del layer, through, traced
    gc.collect()
    assert weight() is None


def test_without_torchscript_the_function_runs_eagerly_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        msg = "TorchScript is gone\nand so is the rest of this message"
        raise RuntimeError(msg)

    monkeypatch.setattr(torch._C, "_create_graph_by_tracing", fail)
    traced = TracedFunction(lambda x: (x + 1,))
    with caplog.at_level(logging.WARNING):
        found = [traced(torch.zeros(1))[0].item() for _ in range(3)]
    assert found == [1.0, 1.0, 1.0]
    (record,) = caplog.records
    assert record.args == ("TorchScript is gone",)


def test_of_many_image_shapes_only_the_graphs_used_last_are_kept(calls: list[int]) -> None:
    traced = TracedFunction(products)
    shown = range(2, 2 + 3 * MAX_GRAPHS)
    with torch.inference_mode():
        for size in shown:
            traced(torch.rand(size, size), torch.rand(size, size))
        assert len(traced._graphs) == MAX_GRAPHS
        calls.clear()
        oldest = shown[-MAX_GRAPHS]
        for size in (oldest, shown[0], oldest):  # the second one replaces another graph than the first
            values = torch.rand(size, size), torch.rand(size, size)
            assert all(map(torch.equal, traced(*values), products(*values)))
    assert len(calls) == 3 + 2, "only the graph that was removed is traced again"
    assert len(traced._graphs) == MAX_GRAPHS


def test_a_removed_graph_is_freed() -> None:
    cache: GraphCache[Recorded] = GraphCache(lambda _: Recorded())
    first = weakref.ref(cache.get((torch.zeros(1),)))
    for size in range(2, 2 + MAX_GRAPHS):
        cache.get((torch.zeros(size),))
    gc.collect()
    assert first() is None
    assert len(cache) == MAX_GRAPHS


class Recorded:
    """Stands for a graph."""
