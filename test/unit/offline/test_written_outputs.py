# SPDX-License-Identifier: Apache-2.0
"""A failure of one output does not lose the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from recordings import image_folder

from ttt3r_ros.io.frame_records import FrameRecord
from ttt3r_ros.offline import outputs
from ttt3r_ros.offline.run import map_recording

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("error", [ValueError("bad value"), MemoryError(), KeyError("model")])
def test_every_other_output_is_written_after_a_failure(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(outputs, "write_trajectory", fail)
    result = map_recording(image_folder(tmp_path / "room"), tmp_path / "out")
    assert len(result.problems) == 1
    assert "trajectory" in result.problems[0]
    for name in ("map.ply", "frames.csv", "state.npz", "run.json"):
        assert (tmp_path / "out" / name).is_file(), name


def test_a_record_with_a_lens_model_of_one_word_has_its_coefficients() -> None:
    camera = FrameRecord(0, 1, 0, distortion="my_model 0.5 -1.0").intrinsics
    assert (camera.distortion_model, camera.distortion) == ("my_model", (0.5, -1.0))
