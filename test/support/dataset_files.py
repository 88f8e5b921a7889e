# SPDX-License-Identifier: Apache-2.0
"""Small sequences in the formats of public datasets."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ttt3r_ros.geometry import se3_inverse, so3_exp

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.io.sequence import ImageSequence


HEIGHT, WIDTH = 6, 8


START_NS = 10**9


def write_image(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), (value, 200, 30), np.uint8)[..., ::-1])


def write_depth(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = np.full((HEIGHT, WIDTH), value, np.uint16)
    depth[0, 0] = 0
    assert cv2.imwrite(str(path), depth)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def matrix_text(T: np.ndarray) -> str:
    return "\n".join(" ".join(f"{value:.12g}" for value in row) for row in T) + "\n"


def pose(k: int) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = so3_exp(np.array([0.1, 0.2, 0.3]) * k)
    T[:3, 3] = k, 2.0, -1.0
    return T


def poses(sequence: ImageSequence) -> np.ndarray:
    return np.array([T for _, T in sequence.ground_truth()])


def red_values(sequence: ImageSequence) -> list[int]:
    return [int(frame.rgb[0, 0, 0]) for frame in sequence.frames()]


def write_tum(root: Path) -> Path:
    """Three images 0.1 s apart; the second has neither depth nor pose near enough."""
    for k in range(3):
        write_image(root / "rgb" / f"{k}.png", 10 * k)
        write_depth(root / "depth" / f"{k}.png", 5000 * (k + 1))
    listed = [(0, 100.0), (1, 100.1), (2, 100.2)]
    write_text(root / "rgb.txt", "# color\n" + "".join(f"{t:.6f} rgb/{k}.png\n" for k, t in listed))
    write_text(root / "depth.txt", "100.01 depth/0.png\n100.13 depth/1.png\n100.19 depth/2.png\n")
    write_text(
        root / "groundtruth.txt",
        "# t tx ty tz qx qy qz qw\n99.99 7 0 0 0 0 0 1\n100.005 1 0 0 0 0 0 1\n100.21 2 0 0 0 0 0 1\n",
    )
    return root


def write_7scenes(root: Path, projected: bool = False) -> Path:
    for k in range(2):
        write_image(root / f"frame-{k:06d}.color.png", 10 * k)
        write_depth(root / f"frame-{k:06d}.depth.png", 65535 if k else 2000)
        write_text(root / f"frame-{k:06d}.pose.txt", matrix_text(pose(k)))
        if projected:
            write_depth(root / f"frame-{k:06d}.depth.proj.png", 3000)
    return root


SENSOR = """# General sensor definitions.
sensor_type: camera
comment: VI-Sensor cam0 (MT9M034)
T_BS:
  cols: 4
  rows: 4
  data: [0.0, -1.0, 0.0, 0.5,
         1.0, 0.0, 0.0, 0.0,
         0.0, 0.0, 1.0, 0.0,
         0.0, 0.0, 0.0, 1.0]
rate_hz: 20
resolution: [8, 6]
camera_model: pinhole
intrinsics: [458.654, 457.296, 367.215, 248.375] #fu, fv, cu, cv
distortion_model: radial-tangential
distortion_coefficients: [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05]
"""


def write_euroc(root: Path, sensor: str = SENSOR) -> Path:
    cam = root / "mav0" / "cam0"
    stamps_ns = [1403636579763555584 + k * 50_000_000 for k in range(3)]
    write_text(
        cam / "data.csv", "#timestamp [ns],filename\n" + "".join(f"{s},{s}.png\r\n" for s in stamps_ns)
    )
    for k, stamp_ns in enumerate(stamps_ns):
        write_image(cam / "data" / f"{stamp_ns}.png", 10 * k)
    write_text(cam / "sensor.yaml", sensor)
    truth = [(stamps_ns[0] + k * 10_000_000 - 5_000_000, k) for k in range(8)]
    write_text(
        root / "mav0" / "state_groundtruth_estimate0" / "data.csv",
        "#timestamp, p_RS_R_x [m], ...\n" + "".join(f"{s},{k},0,0,1,0,0,0,9,9,9\n" for s, k in truth),
    )
    return root


def write_odometry(root: Path, camera: int = 2) -> Path:
    sequence = root / "sequences" / "07"
    for k in range(3):
        write_image(sequence / f"image_{camera}" / f"{k:06d}.png", 10 * k)
    write_text(sequence / "times.txt", "0.000000e+00\n1.037875e-01\n2.074829e-01\n")
    rows = [f"P{k}: 700 0 4 {-35.0 * k} 0 700 3 0 0 0 1 0" for k in range(4)]
    write_text(sequence / "calib.txt", "\n".join([*rows, "Tr: 1 0 0 0 0 1 0 0 0 0 1 0"]))
    lines = [" ".join(f"{value:.12g}" for value in pose(k)[:3].ravel()) for k in range(3)]
    write_text(root / "poses" / "07.txt", "\n".join(lines) + "\n")
    return sequence


def write_sintel(root: Path) -> Path:
    final = root / "training" / "final" / "alley_2"
    for k in (1, 2):
        name = f"frame_{k:04d}"
        write_image(final / f"{name}.png", 10 * k)
        depth = np.full((HEIGHT, WIDTH), 3.5 * k, "<f4")
        depths, cameras = (root / "training" / part / "alley_2" for part in ("depth", "camdata_left"))
        depths.mkdir(parents=True, exist_ok=True)
        cameras.mkdir(parents=True, exist_ok=True)
        header = struct.pack("<fii", 202021.25, WIDTH, HEIGHT)
        (depths / f"{name}.dpt").write_bytes(header + depth.tobytes())
        K = np.array([[1120.0 + k, 0, 4], [0, 1120, 3], [0, 0, 1]])
        extrinsics = se3_inverse(pose(k))[:3]
        (cameras / f"{name}.cam").write_bytes(
            struct.pack("<f", 202021.25) + K.tobytes() + extrinsics.tobytes()
        )
    return final
