# SPDX-License-Identifier: Apache-2.0
"""Compilation of a network's modules by inductor, which fuses the operations between matrix products.

Modules of one kind and shape share one compiled form; the code between them stays Python. Compiling a whole step
takes four times as long and would prevent the two decoders from running in parallel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from ttt3r_ros.model.network.network import Ttt3r

_MAX_SHAPES = 64  # per module: image sizes times batch sizes


def raise_recompile_limit() -> None:
    """Raise the number of shapes per module; by default the ninth is an error or runs eagerly. Process-wide."""
    torch._dynamo.config.recompile_limit = _MAX_SHAPES  # noqa: SLF001


def disable_compiled_parts() -> None:
    """Run all compiled modules eagerly from now on, process-wide."""
    torch.compiler.set_stance("force_eager")


def compile_modules(network: Ttt3r, backend: str = "inductor") -> None:
    """Compile blocks, heads, pose memory and state update in place; compilation happens at the first call per shape."""
    raise_recompile_limit()
    options: Any = {"dynamic": False, "fullgraph": True, "backend": backend}
    for blocks in (network.enc_blocks, network.dec_blocks, network.dec_blocks_state):
        for block in blocks:
            block.compile(**options)
    network.downstream_head.compile(**options)
    for owner, name in (
        (network, "read_memory"),
        (network, "update_state"),
        (network.pose_retriever, "write"),
    ):
        setattr(owner, name, torch.compile(getattr(owner, name), **options))
