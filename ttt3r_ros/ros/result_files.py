# SPDX-License-Identifier: Apache-2.0
"""Where the node leaves map, trajectory and state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.io.export.writers import write_occupancy, write_pcd, write_ply, write_tum
from ttt3r_ros.io.state_file import read_state, write_state
from ttt3r_ros.pipeline.checkpoint import restore_into, snapshot_of

if TYPE_CHECKING:
    from ttt3r_ros.pipeline.reconstructor import Reconstructor


class ResultFiles:
    """Writes the results of a reconstructor into one folder; of several cameras each has its own names."""

    def __init__(self, directory: str, reconstructor: Reconstructor[Any], camera: str = "") -> None:
        try:
            self._directory = Path(directory).expanduser()
        except RuntimeError as error:
            msg = f"output_directory is '{directory}', and there is no such home; name a folder"
            raise ConfigError(msg) from error
        self._reconstructor = reconstructor
        self._camera = f"_{camera}" if camera else ""

    def save_map(self, suffix: str = "") -> str:
        """Write the map as PLY and PCD, the grid as PGM and YAML; return what was written where, in words.

        Raises:
            OutputError: folder or file cannot be written.
        """
        cloud = self._reconstructor.map.voxels.point_cloud()
        path = self._path("map", suffix, ".ply")
        write_ply(path, cloud)
        write_pcd(path.with_suffix(".pcd"), cloud)
        said = f"{len(cloud.points)} points written to {path} and .pcd"
        grid = self._reconstructor.map.grid.to_grid()
        if grid is not None:
            write_occupancy(path.with_suffix(".pgm"), grid)
            said += ", the grid to .pgm and .yaml"
        return said

    def save_trajectory(self, suffix: str = "") -> str:
        """Write the trajectory of the camera; return what was written where, in words.

        Raises:
            OutputError: folder or file cannot be written.
        """
        stamps_ns, poses = self._reconstructor.trajectory.poses()
        path = self._path("trajectory", suffix, ".txt")
        write_tum(path, stamps_ns, poses)
        return f"{len(poses)} poses written to {path}"

    def save_state(self) -> str:
        """Write everything a later session needs in order to go on; return what was written where, in words.

        Raises:
            OutputError: folder or file cannot be written, or there is nothing to go on from.
        """
        path = self._path("state", "", ".npz")
        write_state(path, snapshot_of(self._reconstructor))
        poses = len(self._reconstructor.trajectory)
        return f"state after {poses} poses, with map and trajectory, written to {path}"

    def load_state(self) -> str:
        """Go on from a saved session; return what was read, in words.

        Raises:
            SourceError: there is no such file, or it is damaged or of another network or map.
        """
        path = self._path("state", "", ".npz")
        restore_into(self._reconstructor, read_state(path))
        return (
            f"{path} read: {len(self._reconstructor.trajectory)} poses, {len(self._reconstructor.map.voxels)} voxels;"
            " the next image goes on from the last one"
        )

    def _path(self, name: str, suffix: str, ending: str) -> Path:
        return self._directory / f"{name}{self._camera}{suffix}{ending}"
