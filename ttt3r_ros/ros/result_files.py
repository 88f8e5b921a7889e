# SPDX-License-Identifier: Apache-2.0
"""Map, trajectory and state files that the node saves to its output directory and loads from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import ConfigError, OutputError
from ttt3r_ros.io.export.map_files import write_map
from ttt3r_ros.io.state_file import read_state, write_state
from ttt3r_ros.io.trajectory_files import write_tum
from ttt3r_ros.pipeline import checkpoint
from ttt3r_ros.state_dict import StateReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ttt3r_ros.pipeline.reconstructor import Reconstructor


class ResultFiles:
    """Files of one reconstructor. With several cameras the file names contain the camera's name.

    Every method returns a message for the response of its service.
    """

    def __init__(self, directory: str, reconstructor: Reconstructor[Any], camera: str = "") -> None:
        try:
            self._directory = Path(directory).expanduser()
        except RuntimeError as error:
            msg = f"output_directory is '{directory}': that user has no home directory; name a folder"
            raise ConfigError(msg) from error
        self.reconstructor = reconstructor
        self._camera = f"_{camera}" if camera else ""

    def save_map(self, suffix: str = "") -> str:
        """Write the map as PLY and PCD, the grid as PGM and YAML.

        Raises:
            OutputError: the map is empty, or folder or file cannot be written.
        """
        path = self._path("map", suffix, ".ply")
        if not len(self.reconstructor.map.voxels):
            raise self._nothing_to_save(path)
        saved = write_map(path, self.reconstructor.map)
        grid = ", grid saved to .pgm and .yaml" if saved.has_grid else ""
        return f"{saved.points} points saved to {path} and .pcd{grid}"

    def save_trajectory(self, suffix: str = "") -> str:
        """Write the trajectory of the camera in the TUM format.

        Raises:
            OutputError: the trajectory is empty, or folder or file cannot be written.
        """
        stamps_ns, poses = self.reconstructor.trajectory.poses()
        path = self._path("trajectory", suffix, ".txt")
        if not len(poses):
            raise self._nothing_to_save(path)
        write_tum(path, stamps_ns, poses)
        return f"{len(poses)} poses saved to {path}"

    def save_state(self) -> str:
        """Write everything that a later session needs to continue.

        Raises:
            OutputError: folder or file cannot be written, or no frame was mapped yet.
        """
        path = self.state_path
        if not len(self.reconstructor.trajectory):
            raise self._nothing_to_save(path)
        write_state(path, {"reconstructor": checkpoint.state_dict(self.reconstructor)})
        return f"state, map and trajectory of {len(self.reconstructor.trajectory)} poses saved to {path}"

    @staticmethod
    def load_states(files: Sequence[ResultFiles]) -> str:
        """Continue the reconstructors of several bodies from their saved sessions, or none of them.

        Raises:
            SourceError: a file is missing, damaged, or of another network or map; nothing has changed.
        """
        paths = [body.state_path for body in files]
        states = [StateReader(read_state(path), "state").group("reconstructor") for path in paths]
        reconstructors = [body.reconstructor for body in files]
        pairs = zip(reconstructors, states, strict=True)
        checkpoint.continue_maps(dict(zip(map(str, paths), pairs, strict=True)))
        return "; ".join(
            f"{path} loaded: {len(mapping.trajectory)} poses, {len(mapping.map.voxels)} voxels"
            for path, mapping in zip(paths, reconstructors, strict=True)
        )

    def _nothing_to_save(self, path: Path) -> OutputError:
        count = len(self.reconstructor.trajectory)
        reason = f"{count} images mapped, no confident point" if count else "no image is mapped yet"
        return OutputError(f"nothing to save ({reason}): {path} is not written")

    @property
    def state_path(self) -> Path:
        """Return the path of the state file."""
        return self._path("state", "", ".npz")

    def _path(self, name: str, suffix: str, ending: str) -> Path:
        return self._directory / f"{name}{self._camera}{suffix}{ending}"
