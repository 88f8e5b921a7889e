# SPDX-License-Identifier: Apache-2.0
"""Where the node leaves map and trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.io.writers import write_ply, write_tum

if TYPE_CHECKING:
    from ttt3r_ros.pipeline.reconstructor import Reconstructor


class ResultFiles:
    """Writes the results of a reconstructor into one folder."""

    def __init__(self, directory: str, reconstructor: Reconstructor[Any]) -> None:
        try:
            self._directory = Path(directory).expanduser()
        except RuntimeError as error:
            msg = f"output_directory is '{directory}', and there is no such home; name a folder"
            raise ConfigError(msg) from error
        self._reconstructor = reconstructor

    def save_map(self, suffix: str = "") -> str:
        """Write map.ply; return what was written where, in words.

        Raises:
            OutputError: folder or file cannot be written.
        """
        cloud = self._reconstructor.map.point_cloud()
        path = self._directory / f"map{suffix}.ply"
        write_ply(path, cloud)
        return f"{len(cloud.points)} points written to {path}"

    def save_trajectory(self, suffix: str = "") -> str:
        """Write trajectory.txt; return what was written where, in words.

        Raises:
            OutputError: folder or file cannot be written.
        """
        stamps_ns, poses = self._reconstructor.trajectory.poses()
        path = self._directory / f"trajectory{suffix}.txt"
        write_tum(path, stamps_ns, poses)
        return f"{len(poses)} poses written to {path}"
