# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: the state of a reconstructor as a state dict, and the two ways to continue from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import OutputError, SourceError
from ttt3r_ros.odometry.leveling import Leveling
from ttt3r_ros.odometry.pose_integrator import PoseIntegrator
from ttt3r_ros.odometry.scale_correction import read_scale
from ttt3r_ros.state_dict import StateReader, load_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.pipeline.reconstructor import Reconstructor
    from ttt3r_ros.state_dict import StateDict

_MAP_COMPONENTS = ("session", "trajectory", "map")


def state_dict(reconstructor: Reconstructor[Any]) -> StateDict:
    """Return the states of all components of a reconstructor.

    Raises:
        OutputError: no frame was processed yet.
    """
    if reconstructor.pose_integrator.T_map_base is None:
        msg = "there is no state to save before the first image"
        raise OutputError(msg)
    return {name: part.state_dict() for name, part in reconstructor.components().items()}


def load_state_dict(reconstructor: Reconstructor[Any], state: Mapping[str, Any]) -> None:
    """Continue exactly: the next frames give the same results, bit by bit, as without the interruption.

    Raises:
        SourceError: an entry is invalid or belongs to other weights or settings; nothing has changed.
    """
    load_all(reconstructor.components(), state)
    reconstructor.corrections.drain()  # they belong to the map that was replaced


def continue_maps(saved: Mapping[str, tuple[Reconstructor[Any], Mapping[str, Any]]]) -> None:
    """Continue the saved maps of several reconstructors by file name, all or none; see `continue_map`."""
    before = []
    try:
        for name, (reconstructor, state) in saved.items():
            parts = reconstructor.components()
            before.append((parts, {name: part.state_dict() for name, part in parts.items()}))
            continue_map(reconstructor, state)
    except SourceError as error:
        for parts, former in before[:-1]:  # the last one is unchanged
            load_all(parts, former)
        msg = f"{name}: {error}"
        raise SourceError(msg) from error


def continue_map(reconstructor: Reconstructor[Any], state: Mapping[str, Any]) -> None:
    """Continue a saved map in a running session: network state, trajectory, map, floor, body pose and scale.

    Odom and the estimators of the running session continue. The next frame starts at the pose of the last saved one;
    the time between the two is unknown.

    Raises:
        SourceError: an entry is invalid or belongs to other weights or settings; nothing has changed.
    """
    saved = StateReader(state, "state")
    saved_pose = PoseIntegrator()
    saved_pose.load_state_dict(saved.group("pose_integrator"))
    saved.require(saved_pose.T_map_base is not None, "pose_integrator has no pose")
    scale = read_scale(saved.group("scale_correction"))
    saved_leveling = Leveling("floor", on_robot=False)
    saved_leveling.load_state_dict(saved.group("leveling"))
    components = reconstructor.components()
    load_all(
        {name: components[name] for name in _MAP_COMPONENTS},
        {name: saved.group(name) for name in _MAP_COMPONENTS},
    )
    reconstructor.pose_integrator.continue_map(saved_pose, reconstructor.session.T_world_camera)
    reconstructor.scale_correction.continue_from(scale)
    reconstructor.leveling.continue_map(saved_leveling)
    reconstructor.corrections.drain()  # they belong to the map that was replaced
    reconstructor.drop_last()
