# SPDX-License-Identifier: Apache-2.0
"""Text, JSON and YAML of unknown origin: a value or one line, in bounded time."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ttt3r_ros.errors import ConfigError, SourceError, Ttt3rError
from ttt3r_ros.io.camera_files import read_camera_file
from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.io.frame_records import read_frames
from ttt3r_ros.io.parameter_file import read_parameter_file
from ttt3r_ros.io.run_folder import RunFolder
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.text_files import read_json, read_text, read_yaml

if TYPE_CHECKING:
    from pathlib import Path

CAMERA_YAML = """image_width: 160
image_height: 120
camera_matrix: {rows: 3, cols: 3, data: [140.0, 0.0, 80.5, 0.0, 141.0, 60.5, 0.0, 0.0, 1.0]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.2, 0.05, 0.001, 0.0, 0.0]}
"""
PARAMETERS = "/**:\n  ros__parameters:\n    map: {voxel_size: 0.1}\n    device: cpu\n"


def bomb(merge: bool) -> str:
    """Return aliases that expand to 9**20 values, as a list or by merge keys."""
    item = "{{<<: [{0}]}}" if merge else "[{0}]"
    lines = ["a0: &a0 {x: 1}" if merge else "a0: &a0 [x]"]
    for level in range(1, 21):
        lines += [f"a{level}: &a{level} " + item.format(", ".join([f"*a{level - 1}"] * 9))]
    return "\n".join(lines)


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "NUL": b"a: 1\0",
    "latin1": "a: é".encode("latin-1"),
    "utf16": "a: 1".encode("utf-16"),
    "open bracket": b"a: [1, 2",
    "deep list": b"[" * 20_000 + b"]" * 20_000,
    "deep object": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "deep blocks": "\n".join(f"{' ' * level}a:" for level in range(300)).encode(),
    "digits": b'{"a": ' + b"9" * 5000 + b"}",
    "alias bomb": bomb(merge=False).encode(),
    "merge bomb": bomb(merge=True).encode(),
    "recursive alias": b"a: &a [*a]",
    "unknown alias": b"a: *b",
    "python tag": b"!!python/object/apply:os.system ['true']",
    "bad int": b"a: !!int ''",
    "bad bool": b"a: !!bool perhaps",
    "bad time": b"a: !!timestamp x",
    "bad date": b"a: 2020-99-99",
    "unhashable key": b"? {a: 1}\n: 2",
    "two documents": b"a: 1\n---\nb: 2",
    "control": b"a: \x01",
    "list": b"[1, 2]",
    "word": b"word",
}


def require_one_line(error: BaseException, path: Path) -> None:
    assert str(path) in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < len(str(path)) + 500


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("read", [read_parameter_file, read_camera_file, read_json])
def test_a_hostile_file_is_refused_in_one_line(kind: str, read: Any, tmp_path: Path) -> None:
    for name in ("file.yaml", "file.json"):
        path = tmp_path / name
        path.write_bytes(HOSTILE[kind])
        started = time.process_time()
        with pytest.raises((SourceError, ConfigError)) as caught:
            read(path)
        require_one_line(caught.value, path)
        assert time.process_time() - started < 5.0


@pytest.mark.parametrize(
    "read", [read_text, read_json, read_yaml, read_parameter_file, read_camera_file, read_ply]
)
def test_a_folder_pipe_loop_or_missing_file_is_refused_in_one_line(read: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (
        tmp_path,
        tmp_path / "absent",
        tmp_path / "pipe",
        tmp_path / "loop",
        tmp_path / ("n" * 300),
    ):
        with pytest.raises((SourceError, ConfigError)) as caught:
            read(path)
        require_one_line(caught.value, path)
    with pytest.raises((SourceError, ConfigError), match="null"):
        read(tmp_path / "nul\0character")


def test_valid_files_are_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(PARAMETERS)
    assert read_parameter_file(path) == {"map.voxel_size": 0.1, "device": "cpu"}
    path.write_bytes(b"\xef\xbb\xbf" + PARAMETERS.encode())
    assert read_parameter_file(path)["device"] == "cpu"
    path.write_text("a: &a [1, 2]\nb: {<<: {x: *a}}\nc: [*a, *a]\n")
    assert read_yaml(path) == {"a": [1, 2], "b": {"x": [1, 2]}, "c": [[1, 2], [1, 2]]}


@pytest.mark.parametrize(
    "value", [".inf", "-.inf", ".nan", "1.0e+400", "-5", "0", "1e300", "wide", "[]", "9" * 4000]
)
@pytest.mark.parametrize("old", ["160", "120", "140.0", "141.0"])
def test_a_camera_with_a_wrong_number_is_refused_in_one_line(
    value: str, old: str, tmp_path: Path
) -> None:
    is_size = "." not in old
    if value == ("0" if is_size else "1e300"):
        return  # 0: the size is unknown; a focal length of 1e300 is finite
    path = tmp_path / "camera.yaml"
    path.write_text(CAMERA_YAML.replace(old, value))
    with pytest.raises(SourceError) as caught:
        read_camera_file(path)
    require_one_line(caught.value, path)


def test_a_file_for_another_node_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(PARAMETERS.replace("/**", "ttt3r_node"))
    with pytest.raises(ConfigError, match=r"mapping_node.*ttt3r_node"):
        read_parameter_file(path)


kinds = st.sampled_from(["insert", "delete", "replace", "cut", "repeat"])
mutations = st.lists(st.tuples(st.floats(0, 1), kinds, st.binary(max_size=6)), max_size=4)


def mutated(content: bytes, changes: list[tuple[float, str, bytes]]) -> bytes:
    for place, kind, data in changes:
        at = int(place * len(content))
        if kind == "cut":
            content = content[:at]
        elif kind == "repeat":
            content = content[:at] + content[at : at + 20] * 3 + content[at:]
        else:
            removed = {"insert": 0, "delete": 5, "replace": len(data)}[kind]
            content = content[:at] + (b"" if kind == "delete" else data) + content[at + removed :]
    return content


PLY = (
    b"ply\nformat binary_little_endian 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
    b"property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n" + bytes(30)
)
READERS: dict[str, tuple[str, bytes, Any]] = {
    "parameters": ("p.yaml", PARAMETERS.encode(), read_parameter_file),
    "camera yaml": ("c.yaml", CAMERA_YAML.encode(), read_camera_file),
    "camera json": (
        "c.json", b'{"fx": 140.0, "fy": 141.0, "cx": 80.5, "cy": 60.5, "width": 160, "height": 120}', read_camera_file,
    ),
    "trajectory": ("t.txt", b"1.5 0 0 0 0 0 0 1\n2.5 1 2 3 0 0 0 1\n", read_tum),
    "frames": ("f.csv", b"index,stamp_ns,map_id\n0,1,0\n", read_frames),
    "run": ("run.json", b'{"settings": {"map.voxel_size": 0.05}}', lambda path: RunFolder(path.parent)),
    "map": ("m.ply", PLY, read_ply),
}  # fmt: skip


@pytest.mark.parametrize("kind", READERS)
def test_a_mutated_file_is_read_or_refused(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    name, content, read = READERS[kind]
    path = tmp_path_factory.mktemp("mutated") / name

    @given(mutations)
    def check(changes: list[tuple[float, str, bytes]]) -> None:
        path.write_bytes(mutated(content, changes))
        with suppress(Ttt3rError):
            read(path)

    check()


scalars = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
trees = st.recursive(scalars, lambda value: st.lists(value) | st.dictionaries(st.text(), value))


def test_documents_of_pyyaml_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"

    @given(trees)
    def check(value: Any) -> None:
        path.write_text(yaml.safe_dump(value, allow_unicode=False), encoding="utf-8")
        assert repr(read_yaml(path)) == repr(yaml.safe_load(path.read_text(encoding="utf-8")))

    check()
