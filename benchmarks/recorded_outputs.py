# SPDX-License-Identifier: Apache-2.0
"""Run a golden case and measure the deviation of each output from its recording."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ttt3r_ros.geometry import transform
from ttt3r_ros.model.network.rope import grid_positions, state_positions
from ttt3r_ros.model.network.view import OptionalOutputs
from ttt3r_ros.model.runtime.backend import TorchBackend
from ttt3r_ros.model.runtime.preprocessing import InputSize
from ttt3r_ros.odometry.session import StreamingSession
from ttt3r_ros.types import ImageGeometry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from golden import GoldenCase, GoldenView
    from numpy.typing import NDArray

    from ttt3r_ros.model.network.network import Ttt3r
    from ttt3r_ros.model.network.state import RecurrentState
    from ttt3r_ros.model.network.view import StepOutput
    from ttt3r_ros.odometry.session import FrameEstimate

    Array = NDArray[Any]

BOUND_FLOAT32 = 2e-5
BOUND_FLOAT16_ROPE = 2e-3
AMBIGUOUS_SIGN = 1e-2  # fraction of a vector's norm below which the sign of a component is unreliable
REQUIRED = (
    "pts3d_in_self_view", "conf_self", "camera_pose", "pts3d_in_other_view", "conf", "state_after", "mem_after",
    "gate_logit",
)  # fmt: skip
INPUTS = re.compile(r"in_|demo_keep$")
# Random predictions have no focal length; see the case "geometry".
DEGENERATE = re.compile(r"demo_focal_")


@dataclass(frozen=True)
class Outcome:
    """One output against its recording."""

    output: str
    error: float  # relative to the recording's largest magnitude; NaN: missing
    bound: float
    note: str = ""
    compared: bool = True

    @property
    def passed(self) -> bool:
        """Return whether the error is within the bound; NaN never is."""
        return self.error <= self.bound


class _RecordedSize(InputSize):
    """Passes images unchanged, for any image size of the configuration."""

    def geometry(self, width: int, height: int) -> ImageGeometry:
        return ImageGeometry(width, height, width, height, left=0, top=0, width=width, height=height)


def compare_streaming(case: GoldenCase, network: Ttt3r, views: list[GoldenView]) -> Iterator[Outcome]:
    """Run the views of a case through the network and compare every recorded array."""
    measured = _run(case, network, views)
    for name in _required_names(network):
        if name not in case.arrays and f"rope32_{name}" not in case.arrays:
            yield Outcome(name, float("nan"), BOUND_FLOAT32, "not recorded in this case")
    for recorded in case.arrays:
        plain, bound = _bound(recorded)
        if INPUTS.match(recorded) or plain.startswith("demo_"):
            continue
        yield _compare(
            recorded, measured.get(plain), case.arrays[recorded], bound, flips=_flips(network)
        )


def compare_demo(case: GoldenCase, network: Ttt3r) -> Iterator[Outcome]:
    """Run the images of a demo case through a streaming session and compare chained poses and points."""
    arrays = case.arrays
    backend = TorchBackend(network)
    backend.size = _RecordedSize(max(arrays["in_img_u8"].shape[1:3]), patch=network.config.patch_size)
    session = StreamingSession(backend, _reset_interval(arrays))
    kept = [int(index) for index in arrays["in_img_index"][arrays["demo_keep"]]]
    estimates = [session.step(arrays["in_img_u8"][index]) for index in kept]
    measured = {
        "demo_poses_c2w": np.stack([s.T_world_camera for s in estimates]),
        "demo_pts_world": np.stack(
            [
                _world_points(case, s, arrays["demo_pts_world"][at], flips=_flips(network))
                for at, s in enumerate(estimates)
            ]
        ),
        "demo_pp": np.array(
            [[s.prediction.geometry.width // 2, s.prediction.geometry.height // 2] for s in estimates]
        ),
    }
    for recorded in arrays:
        plain, bound = _bound(recorded)
        if INPUTS.match(plain) or not plain.startswith("demo_"):
            continue
        if DEGENERATE.match(plain):
            yield Outcome(recorded, 0.0, bound, "undefined for random predictions", compared=False)
        else:
            yield _compare(recorded, measured.get(plain), arrays[recorded], bound)


def _bound(recorded: str) -> tuple[str, float]:
    """Return the plain name of an output and its error bound."""
    plain = recorded.removeprefix("rope32_")
    return plain, BOUND_FLOAT16_ROPE if plain == recorded else BOUND_FLOAT32


def _flips(network: Ttt3r) -> bool:
    return network.config.head_type == "linear"


def _compare(
    recorded: str, measured: Array | None, values: Array, bound: float, *, flips: bool = False
) -> Outcome:
    if measured is None:
        return Outcome(recorded, float("nan"), bound, "no such output")
    return Outcome(
        recorded, deviation(recorded.removeprefix("rope32_"), measured, values, flips=flips), bound
    )


def deviation(name: str, measured: Array, recorded: Array, *, flips: bool = False) -> float:
    """Return the largest error relative to the largest recorded magnitude; infinite where shapes differ.

    ``flips``: the head flips each vector by the sign of its depth, so both signs are valid at zero depth.
    """
    if measured.shape != recorded.shape:
        return float("inf")
    measured, recorded = measured.astype(np.float64), recorded.astype(np.float64)
    difference = np.abs(measured - recorded)
    if name == "pts3d_in_self_view" and flips:
        difference = np.where(
            _has_ambiguous_sign(measured), _min_over_signs(measured, recorded), difference
        )
    if name == "camera_pose":
        # The sign of a quaternion is fixed by w >= 0, which is arbitrary at w = 0.
        ambiguous = np.abs(measured[..., 3:4]) < AMBIGUOUS_SIGN
        either = _min_over_signs(measured[..., 3:], recorded[..., 3:])
        difference[..., 3:] = np.where(ambiguous, either, difference[..., 3:])
    return float(difference.max() / max(float(np.abs(recorded).max()), 1e-30))


def _has_ambiguous_sign(points: Array) -> Array:
    """Return where the depth of camera points (..., 3) is too close to zero for a reliable sign."""
    return np.abs(points[..., 2:]) < AMBIGUOUS_SIGN * np.linalg.norm(points, axis=-1, keepdims=True)


def _min_over_signs(a: Array, b: Array) -> Array:
    same, opposite = np.abs(a - b), np.abs(a + b)
    flipped = opposite.max(axis=-1, keepdims=True) < same.max(axis=-1, keepdims=True)
    return np.where(flipped, opposite, same)


def _world_points(case: GoldenCase, estimate: FrameEstimate, recorded: Array, *, flips: bool) -> Array:
    """Return world points; an ambiguous sign is chosen so that the point is closer to the recording."""
    T = estimate.T_world_camera
    points = _sampler(case)("pts3d_in_self_view", estimate.prediction.points_camera)
    ours, opposite = transform(T, points), transform(T, -points)
    nearer = np.linalg.norm(opposite - recorded, axis=-1) < np.linalg.norm(ours - recorded, axis=-1)
    return np.where(nearer[..., None] & _has_ambiguous_sign(points) & flips, opposite, ours)


def _required_names(network: Ttt3r) -> tuple[str, ...]:
    return (*REQUIRED, "rgb") if network.config.rgb_head else REQUIRED


def _reset_interval(arrays: dict[str, Array]) -> int:
    resets = np.flatnonzero(arrays["in_reset"][arrays["demo_keep"]])
    return int(resets[0]) + 1 if resets.size else 0


@torch.inference_mode()
def _run(case: GoldenCase, network: Ttt3r, views: list[GoldenView]) -> dict[str, Array]:
    sample = _sampler(case)
    state = initial = network.initial_state()
    outputs = OptionalOutputs(world=True, rgb=network.config.rgb_head)
    rows: dict[str, list[Array]] = {}
    for entry in views:
        output, state = network.step(entry.view, state, outputs)
        state = initial if entry.reset else state
        for name, value in _view_outputs(output, state).items():
            rows.setdefault(name, []).append(sample(name, value.float().numpy()))
    measured = {name: np.stack(values) for name, values in rows.items()}
    return measured | _constants(network, initial, views)


def _view_outputs(output: StepOutput, state: RecurrentState) -> dict[str, torch.Tensor]:
    internals = output.internals
    assert output.world is not None
    half, three_quarters, last = internals.decoder_layers
    named = {
        "pts3d_in_self_view": output.camera.points,
        "conf_self": output.camera.confidence,
        "camera_pose": output.pose,
        "pts3d_in_other_view": output.world.points,
        "conf": output.world.confidence,
        "state_after": state.tokens,
        "mem_after": state.memory,
        "gate_logit": internals.gate_logit,
        "gate": internals.gate_logit.sigmoid(),
        "new_state": internals.proposed_tokens,
        "new_mem": internals.proposed_memory,
        "feat": internals.features,
        "pose_in": internals.pose_token[:, 0],
        "dec_half": half,
        "dec_3q": three_quarters,
        "dec_last": last,
    }
    if output.rgb is not None:
        named["rgb"] = output.rgb
    return {name: tensor[0] for name, tensor in named.items()}


def _constants(network: Ttt3r, initial: RecurrentState, views: list[GoldenView]) -> dict[str, Array]:
    config = network.config
    height, width = views[0].view.source().shape[-2:]
    return {
        "state_init": initial.tokens[0].numpy(),
        "mem_init": initial.memory[0].numpy(),
        "state_pos": state_positions(config.state_size, config.state_pe).numpy(),
        "img_pos": grid_positions(height // config.patch_size, width // config.patch_size).numpy(),
    }


def _sampler(case: GoldenCase) -> Callable[[str, Array], Array]:
    """Return the function that subsamples an output as the case does."""
    if not case.strided:
        return lambda _, value: value
    y0, dy, x0, dx = (int(n) for n in re.findall(r"\d+", case.description["dense_stride"]))
    dense = ("pts3d_in_self_view", "pts3d_in_other_view", "rgb", "conf", "conf_self")
    token_strides = {
        "state_after": _stride(case, "state_after"),
        "mem_after": _stride(case, "mem_after"),
        **dict.fromkeys(("feat", "dec_half", "dec_3q", "dec_last"), _stride(case, "feat_dec")),
    }

    def sample(name: str, value: Array) -> Array:
        return value[y0::dy, x0::dx] if name in dense else value[:: token_strides.get(name, 1)]

    return sample


def _stride(case: GoldenCase, key: str) -> int:
    found = re.search(r"::(\d+)", str(case.description.get(key, "::1")))
    return int(found.group(1)) if found else 1
