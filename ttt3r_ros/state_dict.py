# SPDX-License-Identifier: Apache-2.0
"""State dicts: the state of an object as nested dicts of NumPy arrays and scalars.

Every stateful class has ``state_dict()``, which returns copies, and ``load_state_dict()``, which validates all entries
before it changes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.geometry import require_pose

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from numpy.typing import NDArray

StateDict: TypeAlias = "dict[str, Any]"
_SEPARATOR = "."
_MAX_INTEGER = 2**53  # larger counts are damage; sums with them would overflow
_MAX_TRANSLATION = 1e10  # of saved poses: a product of some valid ones


class Stateful(Protocol):
    """An object whose state can be saved and restored."""

    def state_dict(self) -> StateDict:
        """Return a copy of the state."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the state; raise `SourceError` and change nothing if an entry is invalid."""
        ...


class StateReader:
    """Validated access to the entries of a state dict, which may come from a damaged file.

    As a context manager it raises `SourceError` at the end if entries were not read.
    """

    def __init__(self, state: Mapping[str, Any], owner: str) -> None:
        self._state = state
        self._owner = owner
        self._read: set[str] = set()

    def __enter__(self) -> StateReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        extra = sorted(set(self._state) - self._read)
        if kind is None:
            self.require(not extra, f"unexpected entries {', '.join(extra)}")

    def array(
        self,
        name: str,
        dtype: type[np.generic],
        shape: tuple[int | None, ...],
        *,
        maximum: float | None = None,
    ) -> NDArray[Any]:
        """Return a copy of an array; None in ``shape`` stands for any length.

        Raises:
            SourceError: the entry is missing, has another type or shape, is not finite, or a value exceeds +-maximum.
        """
        found = self._array(name)
        fits = len(found.shape) == len(shape) and all(
            expected in (None, length) for length, expected in zip(found.shape, shape, strict=True)
        )
        self.require(
            found.dtype == np.dtype(dtype) and fits,
            f"{name} is {found.dtype} {found.shape}; expected {dtype.__name__} {shape}",
        )
        self.require(np.isfinite(found).all(), f"{name} is not finite")
        if maximum is not None and found.size:
            largest = max(found.max(), -found.min())
            self.require(largest <= maximum, f"{name} reaches {largest}; expected at most {maximum:g}")
        return found.copy()

    def optional(
        self, name: str, dtype: type[np.generic], shape: tuple[int | None, ...]
    ) -> NDArray[Any] | None:
        """Return the value of `pack_optional`; raise as `array`."""
        packed = self.array(name, dtype, (None, *shape))
        self.require(len(packed) <= 1, f"{name} has {len(packed)} values; expected at most 1")
        return packed[0] if len(packed) else None

    def pose(self, name: str) -> NDArray[Any]:
        """Return a rigid motion (4, 4); raise as `array`, and if it is not rigid."""
        return self.validate_poses(name, self.array(name, np.float64, (4, 4)))

    def poses(self, name: str) -> NDArray[Any]:
        """Return rigid motions (N, 4, 4); raise as `pose`."""
        return self.validate_poses(name, self.array(name, np.float64, (None, 4, 4)))

    def optional_pose(self, name: str) -> NDArray[Any] | None:
        """Return the pose of `pack_optional`; raise as `pose`."""
        packed = self.optional(name, np.float64, (4, 4))
        return None if packed is None else self.validate_poses(name, packed)

    def validate_poses(self, name: str, poses: NDArray[Any]) -> NDArray[Any]:
        """Return rigid motions (..., 4, 4); raise `SourceError` if one is not rigid."""
        try:
            require_pose(poses, _MAX_TRANSLATION)
        except ValueError as error:
            self.require(False, f"{name}: {error}")  # noqa: FBT003
        return poses

    def integer(self, name: str, minimum: int = 0) -> int:
        """Return an integer of at most 2^53.

        Raises:
            SourceError: the entry is missing, is no integer, or is out of range.
        """
        value = int(self.array(name, np.int64, ()))
        self.require(
            minimum <= value <= _MAX_INTEGER, f"{name} is {value}; expected {minimum} to {_MAX_INTEGER}"
        )
        return value

    def number(self, name: str) -> float:
        """Return a finite number; raise as `array`."""
        return float(self.array(name, np.float64, ()))

    def number_within(self, name: str, low: float, high: float) -> float:
        """Return a number in a range; raise as `array`, and if it is outside."""
        value = self.number(name)
        self.require(low <= value <= high, f"{name} is {value}; expected {low:g} to {high:g}")
        return value

    def boolean(self, name: str) -> bool:
        """Return a boolean; raise as `array`."""
        return bool(self.array(name, np.bool_, ()))

    def text(self, name: str) -> str:
        """Return a string.

        Raises:
            SourceError: the entry is missing or is no string.
        """
        found = self._array(name)
        self.require(found.dtype.kind == "U" and found.shape == (), f"{name} is no text")
        return str(found)

    def texts(self, name: str) -> list[str]:
        """Return a list of strings; raise as `text`."""
        found = self._array(name)
        self.require(found.dtype.kind == "U" and found.ndim == 1, f"{name} is no list of texts")
        return [str(value) for value in found]

    def group(self, name: str) -> StateDict:
        """Return a nested state dict; empty if the entry is missing, because files contain no empty groups."""
        self._read.add(name)
        found = self._state.get(name, {})
        self.require(isinstance(found, dict), f"{name} is no group of entries")
        return dict(found)

    def require(self, holds: bool | np.bool_, problem: str) -> None:  # noqa: FBT001
        """Raise `SourceError` with a problem unless a condition holds."""
        if not holds:
            msg = f"saved {self._owner}: {problem}"
            raise SourceError(msg)

    def _array(self, name: str) -> NDArray[Any]:
        self._read.add(name)
        self.require(name in self._state, f"{name} is missing")
        return np.asarray(self._state[name])


def pack_optional(value: Any, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return an array (1, *shape) of a value, or (0, *shape) for None."""
    return np.empty((0, *shape), dtype) if value is None else np.array(value, dtype)[None]


def flatten(state: Mapping[str, Any], prefix: str = "") -> dict[str, NDArray[Any]]:
    """Return all values of a nested state dict as arrays. Names are ``group.name``."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in state.items():
        assert _SEPARATOR not in name, name
        if isinstance(value, dict):
            arrays.update(flatten(value, f"{prefix}{name}{_SEPARATOR}"))
        else:
            arrays[prefix + name] = np.asarray(value)
    return arrays


def unflatten(arrays: Mapping[str, NDArray[Any]]) -> StateDict:
    """Return the nested state dict of `flatten`; scalars stay arrays without dimensions.

    Raises:
        SourceError: a group and an array have the same name.
    """
    state: StateDict = {}
    for path, array in arrays.items():
        *groups, name = path.split(_SEPARATOR)
        target = state
        for group in groups:
            target = target.setdefault(group, {})
            if not isinstance(target, dict):
                break
        if not isinstance(target, dict) or name in target:
            msg = f"saved state: {path} is both a group and an array"
            raise SourceError(msg)
        target[name] = array
    return state


def load_all(components: Mapping[str, Stateful], state: Mapping[str, Any]) -> None:
    """Load the state of several objects, each from the group of its name: all or none.

    Raises:
        SourceError: a group is invalid; nothing has changed.
    """
    with StateReader(state, "state") as read:
        groups = {name: read.group(name) for name in components}
    before: dict[str, StateDict] = {}
    loaded: list[str] = []
    try:
        for name, component in components.items():
            before[name] = component.state_dict()
            component.load_state_dict(groups[name])
            loaded.append(name)
    except SourceError:
        _restore(components, before, loaded)  # the refusing one is unchanged
        raise
    except Exception as error:
        # A fault that no check of the component covers; the component may have changed.
        _restore(components, before, list(before))
        msg = f"saved {list(before)[-1]}: {error!r}"
        raise SourceError(msg) from error


def _restore(
    components: Mapping[str, Stateful], before: Mapping[str, StateDict], names: list[str]
) -> None:
    for name in names:
        components[name].load_state_dict(before[name])
