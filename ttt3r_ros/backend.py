# SPDX-License-Identifier: Apache-2.0
"""The interface between the pipeline and the network.

A backend needs the three members of `Backend`. It may add capabilities: `BatchedBackend`, `EncodeAheadBackend`,
`StateSerialization` and `RecommendedSettings`. The functions of this module use a capability if it exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from ttt3r_ros.errors import NonFiniteError, OutputError, SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Prediction, UInt8Array

StateT = TypeVar("StateT")
StepResult: TypeAlias = "tuple[Prediction, StateT] | NonFiniteError"
# Returns the image (H, W, 3) after the current one; None if it has not arrived.
NextImageSource: TypeAlias = Callable[[], "UInt8Array | None"]


class Backend(Protocol[StateT]):
    """A network with a recurrent state. States are values: `step` never changes its input state."""

    @property
    def weights_id(self) -> str:
        """Return an identifier of the weights; never empty."""
        ...

    def initial_state(self) -> StateT:
        """Return the state before the first image of a segment."""
        ...

    def step(self, rgb: UInt8Array, state: StateT) -> tuple[Prediction, StateT]:
        """Process one image (H, W, 3); return its prediction and the next state.

        Raises:
            ImageError: the image cannot be resized to the size of the network.
            NonFiniteError: the output contains NaN or infinity; ``state`` is still valid.
        """
        ...


AnyBackend = Backend[Any]


@runtime_checkable
class BatchedBackend(Protocol[StateT]):
    """Capability: images of several streams as one batch."""

    def step_batch(
        self, images: Sequence[UInt8Array], states: Sequence[StateT]
    ) -> list[StepResult[StateT]]:
        """Process one image per state. A `NonFiniteError` replaces the result of its stream only."""
        ...


@runtime_checkable
class EncodeAheadBackend(Protocol):
    """Capability: encode the next image while the current one is processed."""

    def set_next_image_source(self, source: NextImageSource) -> None:
        """Register the source of the image after the next `step`. That step calls it at most once."""
        ...


@runtime_checkable
class StateSerialization(Protocol[StateT]):
    """Capability: convert states to arrays, to save and continue a session."""

    def state_arrays(self, state: StateT) -> dict[str, NDArray[Any]]:
        """Return a state as named arrays."""
        ...

    def state_from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> StateT:
        """Return the state of `state_arrays`; raise `SourceError` if the arrays do not fit the network."""
        ...


@runtime_checkable
class RecommendedSettings(Protocol):
    """Capability: settings recommended for the weights, used for automatic settings."""

    reset_interval: int  # frames between state resets; 0: never
    pose_source: str  # network or visual_odometry


def step_batch(
    backend: Backend[StateT], images: Sequence[UInt8Array], states: Sequence[StateT]
) -> list[StepResult[StateT]]:
    """Process one image per state, as one batch if the backend supports it.

    Raises:
        ImageError: an image cannot be resized to the size of the network; no state has changed.
    """
    if isinstance(backend, BatchedBackend):
        return backend.step_batch(images, states)
    return [_step(backend, rgb, state) for rgb, state in zip(images, states, strict=True)]


def _step(backend: Backend[StateT], rgb: UInt8Array, state: StateT) -> StepResult[StateT]:
    try:
        return backend.step(rgb, state)
    except NonFiniteError as error:
        return error


def set_next_image_source(backend: AnyBackend, source: NextImageSource) -> None:
    """Register the source of the next image if the backend encodes ahead."""
    if isinstance(backend, EncodeAheadBackend):
        backend.set_next_image_source(source)


def state_arrays(backend: Backend[StateT], state: StateT) -> dict[str, NDArray[Any]]:
    """Return a state as named arrays.

    Raises:
        OutputError: the backend has no `StateSerialization`.
    """
    if not isinstance(backend, StateSerialization):
        msg = f"{type(backend).__name__} cannot save its state; expected state_arrays and state_from_arrays"
        raise OutputError(msg)
    return backend.state_arrays(state)


def state_from_arrays(backend: Backend[StateT], arrays: Mapping[str, NDArray[Any]]) -> StateT:
    """Return the state of `state_arrays`.

    Raises:
        SourceError: the backend has no `StateSerialization`, or the arrays do not fit its network.
    """
    if not isinstance(backend, StateSerialization):
        msg = (
            f"{type(backend).__name__} cannot load a state; expected state_arrays and state_from_arrays"
        )
        raise SourceError(msg)
    state: StateT = backend.state_from_arrays(arrays)
    return state


def recommended_reset_interval(backend: AnyBackend) -> int:
    """Return the recommended frames between state resets; 0: never."""
    return backend.reset_interval if isinstance(backend, RecommendedSettings) else 0


def recommended_pose_source(backend: AnyBackend) -> str:
    """Return the recommended pose source, network or visual_odometry."""
    return backend.pose_source if isinstance(backend, RecommendedSettings) else "network"
