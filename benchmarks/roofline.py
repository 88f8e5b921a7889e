#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time of each part of the network against the machine's roofline, with its operations by kind.

The floor of a part is the longer of its operations at the best rate of a large matrix product measured here, and of
reading its weights once at the best rate of a copy measured here. Time above the floor is split by kind of
operation from a profile of the same part: products below their best rate, attention, and everything without products.
Operations are those that compute or copy, each at least one kernel on a GPU; views are none.
"""

# ruff: noqa: E402 # the package comes before torch: it sets how threads of torch wait
from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not
import_module("ttt3r_ros.model")

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network, seeded_network
from ttt3r_ros.model.network.config import NetworkConfig
from ttt3r_ros.model.network.view import OptionalOutputs, View, patch_grid
from ttt3r_ros.model.runtime.devices import resolve_device
from ttt3r_ros.model.runtime.precision import HALF, resolve_precision, use_precision
from ttt3r_ros.model.runtime.preprocessing import InputSize, normalize_image
from ttt3r_ros.model.runtime.threads import set_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ttt3r_ros.model.network.network import Ttt3r

KINDS = {
    "products": ("linear", "addmm", "mm", "bmm", "convolution", "linear_dynamic"),
    "attention": ("scaled_dot_product", "attention_forward"),
}


@dataclass(frozen=True)
class Part:
    """A part of the network as a function without arguments, and the parameters that it reads."""

    name: str
    run: Callable[[], Any]
    weights_bytes: int


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=("small", "512"), default="small")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--precision", default="auto", choices=("auto", "float32", "bfloat16", "float16")
    )
    parser.add_argument("--threads", type=int, default=0, help="processor threads (0: torch's choice)")
    parser.add_argument(
        "--repeats", type=int, default=0, help="runs of each part (0: 30 small, 3 of 512)"
    )
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    set_threads(arguments.threads)
    network = (
        load_network(PACKAGE_WEIGHTS).network
        if arguments.network == "small"
        else seeded_network(NetworkConfig.published_512_dpt())
    )
    precision = resolve_precision(arguments.precision, device, network.config)
    network = use_precision(network, precision).to(device)
    dtype = HALF.get(precision, torch.float32)
    with torch.no_grad():  # in inference mode an operation that consists of others would be seen as one
        counts = [operations(part.run) for part in parts(network, device)]
    with torch.inference_mode():
        rate, bandwidth = best_rate(dtype, device), best_bandwidth(device)
        print(
            f"{arguments.network}, {precision}, {device}, torch {torch.__version__}, "
            f"{torch.get_num_threads()} threads: "
            f"best product {rate:.0f} GFLOP/s, best copy {bandwidth:.1f} GB/s"
        )
        repeats = arguments.repeats or _repeats(network)
        _print(parts(network, device), counts, rate, bandwidth, device, repeats)
    return 0


def _repeats(network: Ttt3r) -> int:
    return 3 if network.config.enc_embed_dim >= 512 else 30


def best_rate(dtype: torch.dtype, device: str) -> float:
    """Return the rate of a large product [GFLOP/s]."""
    size = 2048 if device == "cpu" else 8192
    a = torch.randn(size, size, dtype=dtype, device=device)
    return 2 * size**3 / 1e9 / _fastest(lambda: a @ a, device, 10)


def best_bandwidth(device: str) -> float:
    """Return the rate at which a large tensor is read [GB/s]."""
    a = torch.ones(64 * 2**20, device=device)
    return a.nbytes / 1e9 / _fastest(a.sum, device, 10)


def parts(network: Ttt3r, device: str) -> list[Part]:
    """Return the parts of a step for a 640x480 image, each ready to run by itself."""
    plan = InputSize.of(network.config).geometry(640, 480)
    generator = torch.Generator().manual_seed(0)
    rgb = torch.randint(0, 256, (plan.height, plan.width, 3), dtype=torch.uint8, generator=generator)
    view = View(image=normalize_image(rgb.numpy()).to(device))
    grid = patch_grid(view.source(), network.config.patch_size)
    state = network.initial_state()
    retriever = network.pose_retriever
    features = network.encode(view)
    key = retriever.key(features)
    token = network.read_memory(state, key)
    decoded = network.decode(features, token, state, grid)
    memory = retriever.write(state.memory, key, decoded.layers[-1][:, :1])
    heads = network.downstream_head
    dense: Any = getattr(heads, "dpt_self", None) or heads.proj
    return [
        Part("encoder", lambda: network.encode(view), _bytes(network.enc_blocks)),
        Part("memory read", lambda: network.read_memory(state, key), _bytes(retriever.read_blocks)),
        Part(
            "decoders",
            lambda: network.decode(features, token, state, grid),
            _bytes(network.dec_blocks, network.dec_blocks_state),
        ),
        Part(
            "memory write",
            lambda: retriever.write(state.memory, key, decoded.layers[-1][:, :1]),
            _bytes(retriever.write_blocks),
        ),
        Part(
            "heads",
            lambda: network.run_heads(features, decoded, grid, OptionalOutputs()),
            _bytes(dense, heads.pose_head),
        ),
        Part("update", lambda: network.update_state(view, state, decoded, memory), 0),
    ]


def _print(
    parts: list[Part], counts: list[int], rate: float, bandwidth: float, device: str, repeats: int
) -> None:
    print(
        f"{'part':13s} {'ops':>5s} {'GFLOP':>8s} {'MB':>7s} {'floor ms':>9s} {'bound by':>9s} {'ms':>9s}"
        f" {'x floor':>8s}   {'slow products':>13s} {'attention':>9s} {'other':>9s}"
    )
    sums = [0.0] * 8
    for part, count in zip(parts, counts, strict=True):
        work, megabytes = gflop(part.run), part.weights_bytes / 1e6
        compute, read = work / rate * 1e3, megabytes / bandwidth
        floor, spent = max(compute, read), _fastest(part.run, device, repeats) * 1e3
        shares = _shares(part.run, device)
        products, attention, other = (
            spent * shares.get(kind, 0.0) for kind in ("products", "attention", "other")
        )
        figures = [
            count,
            work,
            megabytes,
            floor,
            spent,
            max(0.0, products - floor),
            attention,
            other,
        ]
        sums = [a + b for a, b in zip(sums, figures, strict=True)]
        print(_line(part.name, figures, "products" if compute >= read else "weights"))
    print(_line("frame", sums, ""))


def _line(name: str, f: list[float], bound: str) -> str:
    ratio = f"{f[4] / f[3]:7.1f}x" if f[3] else f"{'-':>8s}"
    return (
        f"{name:13s} {f[0]:5.0f} {f[1]:8.2f} {f[2]:7.1f} {f[3]:9.2f} {bound:>9s} {f[4]:9.2f} {ratio}"
        f"   {f[5]:13.2f} {f[6]:9.2f} {f[7]:9.2f}"
    )


def _shares(run: Callable[[], Any], device: str) -> dict[str, float]:
    """Return the fraction of the time of a part for each kind of operation."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device != "cpu" else [])
    with profile(activities=activities) as recorded:
        run()
    spent: dict[str, float] = defaultdict(float)
    for event in recorded.key_averages():
        if event.device_type != DeviceType.CPU:
            continue  # a kernel; its time is in that of the operation that started it
        own = event.self_device_time_total if device != "cpu" else event.self_cpu_time_total
        name = event.key.lower()
        kind = next((k for k, words in KINDS.items() if any(word in name for word in words)), "other")
        spent[kind] += own
    total = sum(spent.values()) or 1.0
    return {kind: own / total for kind, own in spent.items()}


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it, unless it is a view or only finds memory."""
        allocates = func.name().startswith("aten::empty")
        self.count += int(not (func.is_view or allocates))
        return func(*args, **(kwargs or {}))


def operations(run: Callable[[], Any]) -> int:
    """Return the number of operations that a function dispatches."""
    run()  # tables are made once
    with _Operations() as counted:
        run()
    return int(counted.count)


def gflop(run: Callable[[], Any]) -> float:
    """Return the operations of a function [GFLOP]."""

    def attention(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(q, k, v))  # type: ignore[no-untyped-call]

    # torch counts fused attention on CUDA, not on the processor.
    mapping = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}  # noqa: SLF001
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        run()
    return float(counter.get_total_flops()) / 1e9


def _bytes(*modules: torch.nn.Module) -> int:
    return sum(parameter.nbytes for module in modules for parameter in module.parameters())


def _fastest(run: Callable[[], Tensor | Any], device: str, repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    sys.exit(main())
