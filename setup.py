# SPDX-License-Identifier: Apache-2.0
"""All metadata of the Python package; `pyproject.toml` only configures tools."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "ttt3r_ros"
ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "([^"]+)"', (ROOT / PACKAGE / "__init__.py").read_text())[1]

# rclpy and the messages come from the ROS distribution under colcon, from these wheels under pip: Jazzy by the extra
# "ros", or Kilted by "kilted".
ROS_WHEELS = [
    "ros-jazzy-rclpy[fastrtps]",
    "ros-jazzy-std-msgs",
    "ros-jazzy-sensor-msgs",
    "ros-jazzy-geometry-msgs",
    "ros-jazzy-nav-msgs",
    "ros-jazzy-std-srvs",
    "ros-jazzy-diagnostic-msgs",
]
KILTED_WHEELS = [name.replace("jazzy", "kilted") for name in ROS_WHEELS]
DEMO = [
    "av>=14",
    "evo>=1.31",
    "matplotlib>=3.6",
    "mcap>=1.1",
    "rosbags>=0.10",
    "tqdm>=4.60",
    "zstandard>=0.20",
]
EVAL = [
    "av>=14",
    "evo>=1.31",
    "matplotlib>=3.6",
    "mcap>=1.1",
    "PyYAML>=5.4",
    "rosbags>=0.10",
    "zstandard>=0.20",
]
EXPORT = ["onnx>=1.19", "onnxruntime>=1.20", "onnxscript>=0.5.4", "torch>=2.9"]
RAY = ["ray>=2.9"]
RUN = [
    "av>=14",
    "evo>=1.31",
    "jinja2>=3.0",
    "matplotlib>=3.6",
    "mcap>=1.1",
    "PyYAML>=5.4",
    "rosbags>=0.10",
    "tqdm>=4.60",
    "trimesh>=4.0",
    "zstandard>=0.20",
]
VIEWER = ["viser>=1.1"]
TEST = [
    *EVAL,
    *EXPORT,
    *RAY,
    *RUN,
    *VIEWER,
    "hypothesis>=6.50",
    "import-linter>=2.6",
    "mypy>=1.10",
    "playwright>=1.40",
    "pycolmap>=3.11; platform_machine == 'x86_64'",  # elsewhere its test is skipped
    "pytest>=6.2",
    "pytest-xdist>=2.5",
    "PyYAML>=5.4",
    "ruff>=0.15",
    "types-PyYAML",
]


def relative_files(paths):
    """Return paths relative to this folder, as setuptools requires."""
    return sorted(str(path.relative_to(ROOT)) for path in paths if path.is_file())


setup(
    name=PACKAGE,
    version=VERSION,
    description="Dense metric mapping from any one camera: TTT3R as a ROS 2 node",
    author="The ttt3r_ros founders",
    maintainer="The ttt3r_ros founders",
    maintainer_email="ttt3r_ros@users.noreply.example.org",
    license="Apache-2.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={
        PACKAGE: [
            "py.typed",
            "*.pyi",
            "evaluation/published.csv",
            "offline/report/report.html.jinja",
            "ros/fastdds_profile.xml",
            "weights/*",
        ]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", relative_files(ROOT.glob("launch/*.launch.py"))),
        (f"share/{PACKAGE}/config", relative_files(ROOT.glob("config/*.*"))),
        (f"share/{PACKAGE}/config/robots", relative_files(ROOT.glob("config/robots/*.yaml"))),
        (f"share/{PACKAGE}/config/offboard", relative_files(ROOT.glob("config/offboard/*.json5"))),
    ],
    python_requires=">=3.10",
    install_requires=[
        "numpy>=1.21",
        "opencv-python-headless<5",  # cv_bridge and OpenCV 5 do not go together
        "Pillow>=9.0",
        "safetensors>=0.4",
        "scipy>=1.8",
        "torch>=2.6",
    ],
    extras_require={
        "ros": ROS_WHEELS,
        "kilted": KILTED_WHEELS,
        "demo": DEMO,
        "eval": EVAL,
        "export": EXPORT,
        "ray": RAY,
        "run": RUN,
        "viewer": VIEWER,
        "test": TEST,
    },
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "mapping_node = ttt3r_ros.ros.main:main",
            "ttt3r_ros = ttt3r_ros.cli.main:main",
        ],
    },
)
