# SPDX-License-Identifier: Apache-2.0
"""Who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ttt3r_ros"
MODULES = sorted(PACKAGE.rglob("*.py"))
TRAINING = sorted((ROOT / "training").rglob("*.py"))


def imported_by(statement: str) -> set[str]:
    """Return the top-level modules that a statement loads in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(finished.stdout.split())


def test_the_rings_are_kept():
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


def test_only_the_compatibility_module_knows_the_optional_ros_packages():
    optional = {"cv_bridge", "sensor_msgs_py", "tf_transformations", "tf2_ros"}
    for file in MODULES:
        names = {name.split(".")[0] for name in imports(file)}
        assert not names & optional or file.relative_to(PACKAGE).as_posix() == "ros/compat.py", file


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("file", [*MODULES, *TRAINING], ids=lambda f: str(f.relative_to(ROOT)))
def test_files_stay_readable(file):
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    assert len(text.splitlines()) <= 350
    assert ast.get_docstring(ast.parse(text)) or file.name == "__init__.py"


def test_no_code_is_evaluated():
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile", "__import__"}, (
                    f"{file}:{node.lineno}"
                )
