# SPDX-License-Identifier: Apache-2.0
"""`ttt3r_ros.map_recording` for Python callers: result, exceptions, and truth that does not determine an alignment."""

from __future__ import annotations

import json
import math

import pytest
from recordings import image_folder

from ttt3r_ros import map_recording
from ttt3r_ros.errors import ConfigError, OutputError, SourceError
from ttt3r_ros.evaluation.metrics.alignment import POINT

pytest.importorskip("evo")


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """A run of three images whose true poses are all the first one."""
    folder = tmp_path_factory.mktemp("standing")
    source = image_folder(folder / "room", frames=3)
    lines = (source / "groundtruth.txt").read_text().splitlines()
    pose = lines[0].split()[1:]
    text = "".join(f"{' '.join([line.split()[0], *pose])}\n" for line in lines)
    (source / "groundtruth.txt").write_text(text)
    return source, map_recording(source, folder / "out", outputs=("trajectory", "report"))


def test_the_result_has_poses_files_and_errors(standing):
    _, result = standing
    assert result.is_ok
    assert (result.mapped, result.T_map_camera.shape) == (3, (3, 4, 4))
    assert set(result.files) >= {"trajectory", "report"}
    assert all(path.is_file() for paths in result.files.values() for path in paths)
    assert "records" not in repr(result)  # a line per frame would fill the terminal


def test_a_standing_truth_has_position_errors_without_a_scale(standing):
    _, result = standing
    meta = json.loads(
        (result.folder / "run.json").read_text(encoding="utf-8"), parse_constant=pytest.fail
    )
    for error in (result.evaluation, meta["error"]):
        assert math.isfinite(error["ate_se3_m"])
        assert (error["scale"], error["undetermined"], error["length_m"]) == (None, POINT, 0)
    report = (result.folder / "report.html").read_text(encoding="utf-8")
    assert POINT in report
    assert "nan" not in [cell.strip() for cell in report.replace("<", ">").split(">")]
    assert any(POINT in line for line in result.summary())


def test_a_run_that_cannot_start_raises_and_names_the_argument(standing, tmp_path):
    source, result = standing
    absent, output = tmp_path / "absent.mcap", tmp_path / "out"
    cases = [
        ((absent, output), {}, SourceError, str(absent)),
        ((source, result.folder), {}, OutputError, str(result.folder)),
        ((source, output), {"outputs": ["nope"]}, ConfigError, "nope"),
        ((source, output), {"resume": True, "overwrite": True}, ConfigError, "overwrite"),
    ]
    for arguments, options, exception, name in cases:
        with pytest.raises(exception) as found:
            map_recording(*arguments, **options)
        assert name in str(found.value)
    assert not output.exists()
