# SPDX-License-Identifier: Apache-2.0
"""A reconstructor as arrays and back: recurrent state, segment poses, map, grid, trajectory, place and scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import OutputError, SourceError
from ttt3r_ros.state_dict import saved

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.pipeline.reconstructor import Reconstructor

Arrays = dict[str, "NDArray[Any]"]


def snapshot_of(reconstructor: Reconstructor[Any]) -> Arrays:
    """Return all that a later session needs in order to go on, as named arrays.

    Raises:
        OutputError: there was no image yet, so that there is nothing to go on from.
    """
    T_map_base = reconstructor.pose_integrator.T_map_base
    if T_map_base is None:
        msg = "there is no state to save before the first image"
        raise OutputError(msg)
    return {
        "weights": np.array(reconstructor.session.weights_id),
        "T_map_base": T_map_base,
        "T_base_camera": reconstructor.pose_integrator.T_base_camera,
        "scale": np.array(reconstructor.scale_correction.scale),
        **_parts_of(reconstructor),
    }


def restore_into(reconstructor: Reconstructor[Any], arrays: Arrays) -> None:
    """Go on from a snapshot; the next image follows the last one before it.

    Raises:
        SourceError: it is damaged, or of another network or map; nothing has changed.
    """
    before = _parts_of(reconstructor)
    try:
        weights, scale = str(arrays["weights"]), float(arrays["scale"])
        T_map_base, T_base_camera = (
            saved(arrays, name, np.float64, (4, 4)) for name in ("T_map_base", "T_base_camera")
        )
        _require_weights(weights, reconstructor.session.weights_id)
        T_world_camera = _restore_parts(reconstructor, arrays)
    except (KeyError, ValueError, TypeError) as error:
        _restore_parts(reconstructor, before)
        msg = f"the saved state is incomplete or damaged: {error}"
        raise SourceError(msg) from error
    except SourceError:
        _restore_parts(reconstructor, before)
        raise
    reconstructor.pose_integrator.restore(T_map_base, T_base_camera, T_world_camera)
    reconstructor.scale_correction.restore(scale)
    reconstructor.drop_last()


def _require_weights(found: str, own: str) -> None:
    if found != own:
        msg = f"the saved state is of other weights ({found}) than these ({own})"
        raise SourceError(msg)


def _parts_of(reconstructor: Reconstructor[Any]) -> Arrays:
    return {
        **_named("session", reconstructor.session.snapshot()),
        **_named("voxels", reconstructor.map.voxels.state_dict()),
        **_named("trajectory", reconstructor.trajectory.state_dict()),
        **_named("grid", reconstructor.map.grid.state_dict()),
    }


def _restore_parts(reconstructor: Reconstructor[Any], arrays: Arrays) -> NDArray[np.float64]:
    T_world_camera = reconstructor.session.restore(_part("session", arrays))
    reconstructor.map.voxels.load_state_dict(_part("voxels", arrays))
    reconstructor.trajectory.load_state_dict(_part("trajectory", arrays))
    reconstructor.map.grid.load_state_dict(_part("grid", arrays))
    return T_world_camera


def _named(group: str, arrays: Arrays) -> Arrays:
    return {f"{group}.{name}": value for name, value in arrays.items()}


def _part(group: str, arrays: Arrays) -> Arrays:
    prefix = f"{group}."
    return {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}
