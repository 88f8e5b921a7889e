# SPDX-License-Identifier: Apache-2.0
"""Arrays read back from a file, which may be damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def saved(
    arrays: Mapping[str, NDArray[Any]],
    name: str,
    dtype: type[np.generic],
    shape: tuple[int | None, ...],
) -> NDArray[Any]:
    """Return a copy of one array; None in ``shape`` stands for any length.

    Raises:
        SourceError: it is missing, of another type or shape, or not finite.
    """
    found = arrays.get(name)
    if found is None:
        msg = f"saved map: {name} is missing"
        raise SourceError(msg)
    fits = len(found.shape) == len(shape) and all(
        wanted in (None, length) for length, wanted in zip(found.shape, shape, strict=True)
    )
    if found.dtype != np.dtype(dtype) or not fits:
        msg = f"saved map: {name} is {found.dtype} {found.shape}; expected {dtype.__name__} {shape}"
        raise SourceError(msg)
    require(np.isfinite(found).all(), f"{name} is not finite")
    return found.copy()


def require(holds: bool | np.bool_, otherwise: str) -> None:  # noqa: FBT001
    """Raise `SourceError` unless something holds that every saved map has."""
    if not holds:
        msg = f"saved map: {otherwise}"
        raise SourceError(msg)
