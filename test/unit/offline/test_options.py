# SPDX-License-Identifier: Apache-2.0
"""Outputs by name."""

from __future__ import annotations

import pytest

from ttt3r_ros.io.run_folder import DEFAULT_OUTPUTS, OUTPUTS
from ttt3r_ros.offline.options import UnknownOutputError, resolve_outputs


@pytest.mark.parametrize(
    ("names", "outputs"),
    [
        (["default"], DEFAULT_OUTPUTS),
        (["all"], OUTPUTS),
        (["map", "trajectory"], ("trajectory", "map")),
        (["colmap"], ("rgb", "colmap")),
        (["nerfstudio"], ("map", "rgb", "nerfstudio")),
        (["default", "glb"], ("trajectory", "map", "glb", "report", "frames", "state")),
    ],
)
def test_outputs_are_chosen_by_name(names, outputs):
    assert resolve_outputs(names) == outputs


def test_an_unknown_output_is_named():
    with pytest.raises(UnknownOutputError, match=r"bags/x\.mcap"):
        resolve_outputs(["map", "bags/x.mcap"])
