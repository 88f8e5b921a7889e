# SPDX-License-Identifier: Apache-2.0
"""Golden cases: folders of recorded reference outputs, and the models they were recorded with."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ttt3r_ros.errors import SourceError
from ttt3r_ros.model.checkpoints.checkpoint import rename_to_canonical
from ttt3r_ros.model.checkpoints.networks import load_tensors, tensor_shapes
from ttt3r_ros.model.network.config import NetworkConfig
from ttt3r_ros.model.network.view import View
from ttt3r_ros.model.runtime.preprocessing import normalize_image

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from ttt3r_ros.model.network.network import Ttt3r

OWN_RECIPE = Path(__file__).resolve().parents[1] / "test" / "golden" / "recipe.py"
Arrays = dict[str, "NDArray[Any]"]


@dataclass(frozen=True)
class GoldenCase:
    """One recorded sequence: inputs and expected outputs per view."""

    name: str
    weights: str
    rule: str
    arrays: Arrays
    description: dict[str, Any]

    @property
    def strided(self) -> bool:
        """Return whether only samples of the large arrays were kept."""
        return "dense_stride" in self.description


@dataclass(frozen=True)
class GoldenView:
    """One view of a case, ready for the network."""

    view: View
    reset: bool


class GoldenFolder:
    """A folder laid out as described in test/golden/README.md."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            msg = f"{path} is not a folder"
            raise SourceError(msg)

    def case_names(self) -> list[str]:
        """List the cases of the streaming path."""
        return [name for name in self._all_names() if "__api_" not in name]

    def uncovered_names(self) -> list[str]:
        """List the cases that record other entry points of the reference."""
        return [name for name in self._all_names() if "__api_" in name]

    def _all_names(self) -> list[str]:
        return sorted(path.stem for path in self.path.glob("*__*.npz"))

    def case(self, name: str) -> GoldenCase:
        """Read one case.

        Raises:
            SourceError: the case, its description or its inputs are missing.
        """
        file = self.path / f"{name}.npz"
        weights = name.split("__", maxsplit=1)[0]
        if not file.is_file():
            msg = f"no case {name} in {self.path}; there are {', '.join(self._all_names()) or 'none'}"
            raise SourceError(msg)
        with np.load(file) as archive:
            arrays = {key: archive[key] for key in archive.files}
        description = self._description(weights)
        rule = "cut3r" if "cut3r" in name.split("__")[1] else "ttt3r"
        return GoldenCase(name, weights, rule, arrays, description)

    def _description(self, weights: str) -> dict[str, Any]:
        file = self.path / f"{weights}.json"
        if not file.is_file():
            msg = f"{file.name} is missing in {self.path}: it describes the model of {weights}"
            raise SourceError(msg)
        description: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return description

    def recipe(self) -> ModuleType:
        """Import recipe.py, which makes weights and images from seeds; ours where the folder has none."""
        file = self.path / "recipe.py"
        file = file if file.is_file() else OWN_RECIPE
        spec = importlib.util.spec_from_file_location("golden_recipe", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def network(self, case: GoldenCase) -> Ttt3r:
        """Build the network of a case with its recorded weights."""
        config = NetworkConfig.from_mapping(
            {**case.description["config"], **_dpt_widths(case.description)}
        )
        return load_tensors(config, rename_to_canonical(self._weights(case, config)), rule=case.rule)

    def _weights(self, case: GoldenCase, config: NetworkConfig) -> dict[str, torch.Tensor]:
        codes = self.path / f"{case.weights}_weights_int8.npz"
        if codes.is_file():
            return _from_codes(codes, self.recipe().step_for)
        shapes = case.description.get("state_dict_shapes") or tensor_shapes(config)
        seed = int(case.description["weight_seed"])
        recipe = self.recipe()
        return {
            name: torch.from_numpy(recipe.tensor_for(recipe.canonical(name), tuple(shape), seed))
            for name, shape in shapes.items()
        }

    def views(self, case: GoldenCase) -> list[GoldenView]:
        """Return the views of a case in order."""
        if "in_img_u8" not in case.arrays:
            return [
                GoldenView(View(image=normalize_image(rgb)), reset=False)
                for rgb in self._made_images(case)
            ]
        return [_recorded_view(case.arrays, index) for index in range(len(case.arrays["in_img_index"]))]

    def _made_images(self, case: GoldenCase) -> NDArray[np.uint8]:
        width, height = case.description["size"]
        count = len(case.arrays["camera_pose"])
        seed = int(case.arrays["in_img_seed"])
        images: NDArray[np.uint8] = self.recipe().smooth_images(count, height, width, seed)
        return images


def _dpt_widths(description: dict[str, Any]) -> dict[str, Any]:
    widths = description.get("dpt_dims")
    return {"dpt": widths} if widths else {}


def _from_codes(file: Path, step_for: Any) -> dict[str, torch.Tensor]:
    tensors = {}
    with np.load(file) as archive:
        for name in archive.files:
            codes = archive[name]
            offset, step = step_for(name, codes.shape)
            values = (offset + codes.astype(np.float32) * np.float32(step)).astype(np.float32)
            tensors[name] = torch.from_numpy(values)
    return tensors


def _recorded_view(arrays: Arrays, index: int) -> GoldenView:
    def entry(name: str, default: int) -> int:
        return int(arrays[name][index]) if name in arrays else default

    image_index, ray_index = entry("in_img_index", -1), entry("in_ray_index", -1)
    image = normalize_image(arrays["in_img_u8"][image_index]) if image_index >= 0 else None
    rays = None
    if ray_index >= 0:
        rays = (
            torch.from_numpy(arrays["in_ray_map"][ray_index]).float().permute(2, 0, 1)[None].contiguous()
        )
    update = torch.tensor([bool(entry("in_update", 1))])
    return GoldenView(View(image, rays, update), reset=bool(entry("in_reset", 0)))
