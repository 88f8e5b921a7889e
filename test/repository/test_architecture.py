# SPDX-License-Identifier: Apache-2.0
"""Import contracts, imported modules and the form of source files."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LICENSE = "# SPDX-License-Identifier: Apache-2.0\n"
MAX_LINES, MAX_MODULES = 350, 15
TEXTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for folder in ("ttt3r_ros", "training")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
TREES = {name: ast.parse(text) for name, text in TEXTS.items()}


def imported_by(statement: str) -> set[str]:
    """Return the top-level modules that a statement loads in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(finished.stdout.split())


def test_the_import_contracts_hold():
    importlinter = pytest.importorskip("importlinter.cli")
    assert importlinter is not None
    code = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports())"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_importing_the_package_loads_neither_torch_nor_rclpy():
    loaded = imported_by("import ttt3r_ros")
    assert not loaded & {"torch", "rclpy", "numpy", "cv2"}


def test_core_and_pipeline_need_numpy_and_opencv_for_tracks_alone():
    loaded = imported_by(
        "import ttt3r_ros.pipeline.reconstructor, ttt3r_ros.pipeline.worker, ttt3r_ros.config"
    )
    assert "numpy" in loaded
    assert not loaded & {"torch", "rclpy", "scipy", "PIL", "matplotlib", "rosbags"}


def test_the_command_line_starts_without_torch_and_ros():
    assert not imported_by("import ttt3r_ros.cli.main") & {"torch", "rclpy"}


def test_only_the_compatibility_module_imports_optional_ros_packages():
    optional = {"cv_bridge", "sensor_msgs_py", "tf_transformations", "tf2_ros"}
    importing = [
        name for name, tree in TREES.items() if {path.split(".")[0] for path in imports(tree)} & optional
    ]
    assert importing == ["ttt3r_ros/ros/compat.py"]


def imports(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_every_file_has_a_license_line_and_every_module_a_docstring():
    assert [name for name, text in TEXTS.items() if not text.startswith(LICENSE)] == []
    without = [name for name, tree in TREES.items() if not ast.get_docstring(tree)]
    assert [name for name in without if not name.endswith("/__init__.py")] == []


def test_no_file_has_more_than_350_lines():
    lines = {name: text.count("\n") for name, text in TEXTS.items()}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_no_folder_has_more_than_15_modules():
    modules = Counter(
        Path(name).parent.as_posix() for name in TEXTS if not name.endswith("/__init__.py")
    )
    for exception in ("ttt3r_ros/ros", "training"):  # ros: one process, read together (ADR 17)
        del modules[exception]
    assert {name: count for name, count in modules.items() if count > MAX_MODULES} == {}


def test_no_code_is_evaluated():
    names = {"eval", "exec", "compile", "__import__"}
    calls = [
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
    ]
    assert calls == []
