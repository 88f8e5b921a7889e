# SPDX-License-Identifier: Apache-2.0
"""Losses: points with confidence, poses, and motions between views.

Distances are divided by the mean distance of the true points of the sequence, predictions and truth by the same
number: the metric size is learned, and a hall weighs no more than a cupboard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from training.views import Truth
    from ttt3r_ros.model.network.view import PointMap

CONFIDENCE_WEIGHT = 0.2
# How many times the confidence of the published loss stands for the same error. A small network errs more; by that loss
# nearly all of it would be at 1, the lower end, where confidence contains no information and its gradient is small.
CONFIDENCE_GAIN = 3.0
# Points are weighed by their confidence, which grows as they get better; poses are not, and would fall behind. What
# constrains motion is weighted more than depth, which is learned sooner.
WEIGHTS = {"camera": 1.4, "world": 1.4, "pose": 5.0, "motion": 3.0, "ray": 1.0, "bearing": 4.0}


@dataclass(frozen=True)
class Answers:
    """Predictions for B sequences of V views; pixels may be a subset of the truth's."""

    camera: PointMap  # points (B, V, h, w, 3)
    world: PointMap | None
    pose: Tensor  # (B, V, 7) x, y, z, then w, x, y, z


def total_loss(answers: Answers, truth: Truth, resets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss, and its parts (with plain errors) for the log."""
    scale = mean_distance(truth)
    parts = {
        "camera": confident_distance(answers.camera, truth.points_camera, scale),
        "pose": pose_distance(answers.pose, truth.T_first_camera, scale),
        "motion": motion_distance(answers.pose, truth.T_first_camera, resets, scale),
    }
    parts["ray"] = angular_distance(answers.camera, truth.points_camera)
    if answers.world is not None:
        parts["world"] = confident_distance(answers.world, truth.points_world, scale)
        parts["bearing"] = angular_distance(answers.world, truth.points_world)
    loss = torch.stack([WEIGHTS[name] * part for name, part in parts.items()]).sum()
    return loss, parts | plain_errors(answers, truth, resets)


def mean_distance(truth: Truth) -> Tensor:
    """Return the mean distance (B,) of true points from the camera that sees them."""
    return truth.points_camera.norm(dim=-1).mean(dim=(1, 2, 3)).clamp(min=1e-3)


def confident_distance(predicted: PointMap, points: Tensor, scale: Tensor) -> Tensor:
    """Return the mean of c * distance / scale / 3 - 0.2 log c: doubt lowers the price of an error and costs itself."""
    distance = (predicted.points - points).norm(dim=-1) / scale[:, None, None, None]
    confidence = predicted.confidence
    return (confidence * distance / CONFIDENCE_GAIN - CONFIDENCE_WEIGHT * confidence.log()).mean()


def angular_distance(predicted: PointMap, points: Tensor) -> Tensor:
    """Return the mean distance of the directions of the points, which is independent of scale.

    In the first camera's frame that is where a pixel was in its image, the correspondence that poses are made from.
    """
    return (F.normalize(predicted.points, dim=-1) - F.normalize(points, dim=-1)).norm(dim=-1).mean()


def pose_distance(pose: Tensor, T_first_camera: Tensor, scale: Tensor) -> Tensor:
    """Return mean errors of translation (over the scale) and of the unit quaternion, added up."""
    translation = (pose[..., :3] - T_first_camera[..., :3, 3]).norm(dim=-1) / scale[:, None]
    rotation = (pose[..., 3:] - quat_wxyz(T_first_camera[..., :3, :3])).norm(dim=-1)
    return translation.mean() + rotation.mean()


def motion_distance(pose: Tensor, T_first_camera: Tensor, resets: Tensor, scale: Tensor) -> Tensor:
    """Return the mean error of the motions between successive views of a segment."""
    if pose.shape[1] < 2:
        return pose.sum() * 0.0
    T = pose_matrices(pose)
    R_step, t_step = _steps(T)
    R_true, t_true = _steps(T_first_camera)
    joined = (~resets[:, 1:]).float()
    translation = (t_step - t_true).norm(dim=-1) / scale[:, None]
    rotation = (R_step - R_true).flatten(2).norm(
        dim=-1
    ) / 8**0.5  # near zero as the quaternions' distance
    return ((translation + rotation) * joined).sum() / joined.sum().clamp(min=1)


def _steps(T: Tensor) -> tuple[Tensor, Tensor]:
    R, t = T[..., :3, :3], T[..., :3, 3]
    R_before = R[:, :-1].mT
    return R_before @ R[:, 1:], (R_before @ (t[:, 1:] - t[:, :-1])[..., None])[..., 0]


@torch.no_grad()
def plain_errors(answers: Answers, truth: Truth, resets: Tensor) -> dict[str, Tensor]:
    """Return plain errors for the log: depth AbsRel, translation over distance moved, rotation in degrees."""
    depth, true_depth = answers.camera.points[..., 2], truth.points_camera[..., 2]
    moving = ~resets
    true_t = truth.T_first_camera[..., :3, 3]
    error = (answers.pose[..., :3] - true_t).norm(dim=-1)
    R_error = pose_matrices(answers.pose)[..., :3, :3].mT @ truth.T_first_camera[..., :3, :3]
    angle = _angle_deg(R_error)
    count = moving.sum().clamp(min=1)
    return {
        "abs_rel": ((depth - true_depth).abs() / true_depth).mean(),
        "t_over_moved": (error * moving).sum() / (true_t.norm(dim=-1) * moving).sum().clamp(min=1e-6),
        "rotation_deg": (angle * moving).sum() / count,
        "turned_deg": (_angle_deg(truth.T_first_camera[..., :3, :3]) * moving).sum() / count,
    }


def _angle_deg(R: Tensor) -> Tensor:
    quat = quat_wxyz(R)
    return 2 * torch.atan2(quat[..., 1:].norm(dim=-1), quat[..., 0]).rad2deg()


def pose_matrices(pose: Tensor) -> Tensor:
    """Return motions (..., 4, 4) of poses (..., 7) with unit quaternions w, x, y, z."""
    w, x, y, z = pose[..., 3:].unbind(dim=-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), pose[..., 0]),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), pose[..., 1]),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), pose[..., 2]),
        (torch.zeros_like(w), torch.zeros_like(w), torch.zeros_like(w), torch.ones_like(w)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def quat_wxyz(R: Tensor) -> Tensor:
    """Return unit quaternions (..., 4), w >= 0, of rotations (..., 3, 3).

    Each component's magnitude comes from the diagonal; the largest is the one the others are divided by.
    """
    d0, d1, d2 = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    squares = torch.stack(
        (1 + d0 + d1 + d2, 1 + d0 - d1 - d2, 1 - d0 + d1 - d2, 1 - d0 - d1 + d2), dim=-1
    )
    a, b, c = R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]
    e, f, g = R[..., 1, 0] + R[..., 0, 1], R[..., 0, 2] + R[..., 2, 0], R[..., 2, 1] + R[..., 1, 2]
    candidates = torch.stack(
        (
            torch.stack((squares[..., 0], a, b, c), dim=-1),
            torch.stack((a, squares[..., 1], e, f), dim=-1),
            torch.stack((b, e, squares[..., 2], g), dim=-1),
            torch.stack((c, f, g, squares[..., 3]), dim=-1),
        ),
        dim=-2,
    )
    best = squares.argmax(dim=-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quat = F.normalize(candidates.gather(-2, best)[..., 0, :], dim=-1)
    return torch.where(quat[..., :1] < 0, -quat, quat)
