# SPDX-License-Identifier: Apache-2.0
"""Losses have the right gradients, are least for the truth, and do not see beyond a reset."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.losses import (
    CONFIDENCE_GAIN,
    CONFIDENCE_WEIGHT,
    Answers,
    confident_distance,
    mean_distance,
    motion_distance,
    pose_distance,
    pose_matrices,
    quat_wxyz,
    total_loss,
)
from training.views import Truth, in_first_camera, prepare
from ttt3r_ros.geometry import rotation_from_quat_wxyz
from ttt3r_ros.model.network.view import PointMap

B, V, H, W = 2, 3, 3, 4


def random_truth(seed: int = 0) -> Truth:
    rng = torch.Generator().manual_seed(seed)
    points = torch.randn(B, V, H, W, 3, generator=rng, dtype=torch.float64) + torch.tensor(
        [0.0, 0.0, 4.0]
    )
    pose = torch.randn(B, V, 7, generator=rng, dtype=torch.float64)
    pose[..., 3:] = torch.nn.functional.normalize(pose[..., 3:], dim=-1)
    T = pose_matrices(pose)
    return Truth(points, points @ T[..., :3, :3].mT[:, :, None] + T[:, :, None, None, :3, 3], T)


def true_answers(truth: Truth, confidence: float = 2.0 * CONFIDENCE_GAIN) -> Answers:
    def certain(points: torch.Tensor) -> PointMap:
        return PointMap(points, torch.full(points.shape[:-1], confidence, dtype=points.dtype))

    T = truth.T_first_camera
    pose = torch.cat((T[..., :3, 3], quat_wxyz(T[..., :3, :3])), dim=-1)
    return Answers(certain(truth.points_camera), certain(truth.points_world), pose)


def resets(*views: int) -> torch.Tensor:
    flags = torch.zeros(B, V, dtype=torch.bool)
    flags[:, [0, *views]] = True
    return flags


def test_gradients_are_those_of_the_functions():
    truth = random_truth()
    scale = mean_distance(truth)
    rng = torch.Generator().manual_seed(1)
    points = (
        truth.points_camera + 0.3 * torch.randn(truth.points_camera.shape, generator=rng)
    ).requires_grad_()
    confidence = (1.5 + torch.rand(B, V, H, W, generator=rng).double()).requires_grad_()
    pose = torch.randn(B, V, 7, generator=rng, dtype=torch.float64).requires_grad_()
    checked = torch.autograd.gradcheck(
        lambda p, c: confident_distance(PointMap(p, c), truth.points_camera, scale), (points, confidence)
    )
    assert checked
    assert torch.autograd.gradcheck(lambda p: pose_distance(p, truth.T_first_camera, scale), (pose,))
    assert torch.autograd.gradcheck(
        lambda p: motion_distance(p, truth.T_first_camera, resets(), scale), (pose,)
    )


def test_the_truth_has_no_pose_and_no_motion_loss_and_only_the_price_of_doubt():
    truth = random_truth()
    loss, parts = total_loss(true_answers(truth), truth, resets())
    assert parts["pose"] == pytest.approx(0, abs=1e-6)
    assert parts["motion"] == pytest.approx(0, abs=1e-6)
    assert parts["camera"] == pytest.approx(-CONFIDENCE_WEIGHT * np.log(2.0 * CONFIDENCE_GAIN))
    assert parts["abs_rel"] == pytest.approx(0)
    assert float(loss) < 0


def test_the_best_confidence_is_weight_times_gain_over_the_error():
    truth = random_truth()
    scale = mean_distance(truth)
    off = truth.points_camera + torch.tensor([0.05, 0.0, 0.0]) * scale[:, None, None, None, None]
    best = CONFIDENCE_WEIGHT * CONFIDENCE_GAIN / 0.05
    confidence = torch.full((B, V, H, W), best, dtype=torch.float64, requires_grad=True)
    confident_distance(PointMap(off, confidence), truth.points_camera, scale).backward()
    torch.testing.assert_close(confidence.grad, torch.zeros_like(confidence), rtol=0, atol=1e-9)


def test_metric_size_counts():
    truth = random_truth()
    answers = true_answers(truth)
    doubled = Answers(PointMap(answers.camera.points * 2, answers.camera.confidence), None, answers.pose)
    assert (
        float(total_loss(doubled, truth, resets())[0])
        > float(total_loss(answers, truth, resets())[0]) + 0.5
    )


def test_a_motion_across_a_reset_has_no_loss():
    truth = random_truth()
    answers = true_answers(truth)
    pose = answers.pose.clone()
    pose[:, 1:, :3] += 5.0  # wrong from view 1 on, but consistent within
    scale = mean_distance(truth)
    T = pose_matrices(answers.pose)
    assert float(motion_distance(pose, T, resets(1), scale)) == pytest.approx(0, abs=1e-6)
    assert float(motion_distance(pose, T, resets(), scale)) > 0.5


def test_quaternions_of_rotations_near_and_far():
    rng = np.random.default_rng(0)
    quats = rng.normal(size=(200, 4))
    quats[:4] = np.eye(4)  # half turns about each axis
    quats[4:8] = np.eye(4) + 1e-7
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    found = quat_wxyz(torch.from_numpy(rotation_from_quat_wxyz(quats))).numpy()
    assert np.abs((found * quats).sum(axis=1)) == pytest.approx(1.0)
    assert (found[:, 0] >= 0).all()


def test_poses_are_relative_to_the_camera_of_the_last_reset():
    T = random_truth().T_first_camera
    target = in_first_camera(T, resets(2))
    identity = torch.eye(4, dtype=T.dtype).expand(B, 4, 4)
    torch.testing.assert_close(target[:, 0], identity)
    torch.testing.assert_close(target[:, 2], identity)
    torch.testing.assert_close(T[:, 0] @ target[:, 1], T[:, 1])


def test_a_mirrored_clip_is_a_consistent_world(clips):
    plain = prepare(clips)
    mirrored = prepare(clips, mirrored=torch.ones(len(clips), dtype=torch.bool))
    flip = torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(
        mirrored.truth.points_world, plain.truth.points_world.flip(-2) * flip, rtol=1e-4, atol=1e-4
    )
    assert torch.equal(mirrored.images, plain.images.flip(-1))
