# SPDX-License-Identifier: Apache-2.0
"""The parts of a network compiled by inductor, which fuses what lies between products of matrices.

Blocks of one kind and shape share one compiled form, and what runs between the parts stays Python. Compiling a step
as a whole takes four times as long, and would keep the two decoders from running side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from ttt3r_ros.model.network.network import Ttt3r

_SHAPES = 64  # that a part may be compiled for: sizes of images times numbers of them in a batch


def allow_shapes() -> None:
    """Let a part be compiled for as many shapes as a process meets: the ninth would be an error, or run as written."""
    torch._dynamo.config.recompile_limit = _SHAPES  # noqa: SLF001 # process-wide


def give_up_compiling() -> None:
    """Run all compiled parts as they are written from now on, in the whole process."""
    torch.compiler.set_stance("force_eager")


def compile_parts(network: Ttt3r, backend: str = "inductor") -> None:
    """Compile blocks, heads, pose memory and the update of the state, in place, each when it first meets a shape."""
    allow_shapes()
    options: Any = {"dynamic": False, "fullgraph": True, "backend": backend}
    for blocks in (network.enc_blocks, network.dec_blocks, network.dec_blocks_state):
        for block in blocks:
            block.compile(**options)
    network.downstream_head.compile(**options)
    for owner, name in ((network, "recall"), (network, "learn"), (network.pose_retriever, "write")):
        setattr(owner, name, torch.compile(getattr(owner, name), **options))
