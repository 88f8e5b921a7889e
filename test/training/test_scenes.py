# SPDX-License-Identifier: Apache-2.0
"""Rendered images agree with their poses, intrinsics and depth."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from small_recipe import RECIPE
from torch import Tensor

from training.camera_paths import STYLES, Paths
from training.held_out import HeldOutSequence
from training.render import Cameras, render
from training.scenes import CLEARANCE_M, draw_scenes
from training.sequences import Clips, make_clips
from training.textures import SIDE, TextureBank
from training.views import rigid_inverse, unproject


def projected(
    points: Tensor, T_b_a: Tensor, focal: Tensor, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return pixel coordinates (H, W, 2) in camera b of points (H, W, 3) of camera a, and their depth."""
    moved = points @ T_b_a[:3, :3].T + T_b_a[:3, 3]
    center = torch.tensor([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    return moved[..., :2] / moved[..., 2:] * focal + center, moved[..., 2]


def sampled(image: Tensor, uv: Tensor) -> Tensor:
    """Sample (C, H, W) at pixel coordinates (h, w, 2)."""
    size = torch.tensor([image.shape[2], image.shape[1]])
    grid = (uv + 0.5) / size * 2 - 1
    return F.grid_sample(image[None], grid[None], align_corners=False)[0]


def test_depth_seen_from_another_frame_lies_on_the_same_surfaces_to_a_fiftieth_of_a_pixel(bank):
    rng = torch.Generator().manual_seed(4)
    style = STYLES["handheld"]
    paths = Paths.draw(rng, 6, style)
    poses = paths.poses(torch.tensor([[0.0, 0.3]]).expand(6, 2))
    times = torch.zeros(6, 2)
    scenes = draw_scenes(rng, style, poses[..., :3, 3], times, bank, moving_share=0.0)
    focal = torch.full((12,), 70.0)
    scene = torch.arange(6).repeat_interleave(2)
    cameras = Cameras(poses.flatten(0, 1), focal, 80, 56)
    depth = render(scenes, scene, torch.zeros(12), cameras, bank, shadows=False, smooth=False).depth
    errors_px = []
    for a in range(0, 12, 2):
        T_b_a = rigid_inverse(cameras.T_world_camera[a + 1]) @ cameras.T_world_camera[a]
        points = unproject(depth[a][None, None], focal[:1])[0, 0]
        uv, expected = projected(points, T_b_a, focal[0], (56, 80))
        inside = ((uv > 1) & (uv < torch.tensor([78.0, 54.0]))).all(dim=-1)
        # On a plane the inverse depth is an affine function of the pixel, so that interpolation is exact.
        seen = 1 / sampled(1 / depth[a + 1][None], uv)[0]
        same = inside & ((seen / expected - 1).abs() < 0.02)  # not hidden, not on an edge
        assert same.sum() > 0.5 * inside.sum()
        baseline = T_b_a[:3, 3].norm()
        errors_px.append((70.0 * baseline * (1 / seen - 1 / expected).abs())[same])
    errors = torch.cat(errors_px)
    assert errors.quantile(0.9) < 0.02


def test_an_image_warped_by_depth_and_pose_matches_the_other_image(bank, clips):
    gains = []
    for clip in range(len(clips)):
        first, second = clips.rgb[clip, :2].float()
        T = clips.T_world_camera[clip]
        points = unproject(clips.depth[clip, :1].float()[None], clips.focal_px[clip : clip + 1])[0, 0]
        uv, _ = projected(points, rigid_inverse(T[1]) @ T[0], clips.focal_px[clip], (56, 80))
        inside = ((uv > 0) & (uv < torch.tensor([79.0, 55.0]))).all(dim=-1)
        warped = sampled(second, uv)
        gains.append(
            (second - first).abs().mean(0)[inside].mean() / (warped - first).abs().mean(0)[inside].mean()
        )
    assert torch.stack(gains).median() > 1.5


@pytest.mark.parametrize("style", list(STYLES))
def test_every_style_renders_finite_depth_in_front_of_the_camera(bank, style):
    clips = make_clips((8,), 3, replace(RECIPE, styles=((style, 1.0),)), bank)
    depth = clips.depth.float()
    assert torch.isfinite(depth).all()
    assert depth.min() > 0.2 * CLEARANCE_M
    spread = clips.rgb.float().flatten(2).std(dim=2)
    assert (spread > 4).all(), "every frame shows something"


def test_a_clip_is_a_function_of_its_seed(bank):
    again, other = (make_clips(seed, 2, RECIPE, bank) for seed in ((3, 9), (3, 10)))
    once = make_clips((3, 9), 2, RECIPE, bank)
    assert torch.equal(once.rgb, again.rgb)
    assert torch.equal(once.depth, again.depth)
    assert not torch.equal(once.rgb, other.rgb)


def test_solids_that_move_change_the_depth_and_others_do_not(bank):
    rng = torch.Generator().manual_seed(1)
    style = STYLES["handheld"]
    poses = Paths.draw(rng, 8, style).poses(torch.zeros(8, 1))
    times = torch.zeros(8, 1)
    scenes = draw_scenes(rng, style, poses[..., :3, 3], times, bank, moving_share=1.0)
    still = replace(scenes, velocity=torch.zeros_like(scenes.velocity))
    cameras = Cameras(poses[:, 0], torch.full((8,), 60.0), 80, 56)

    def depth(scenes_now: object, time_s: float) -> Tensor:
        times = torch.full((8,), time_s)
        return render(
            scenes_now, torch.arange(8), times, cameras, bank, shadows=False, smooth=False
        ).depth

    assert torch.equal(depth(still, 0.0), depth(still, 1.0))
    assert not torch.equal(depth(scenes, 0.0), depth(scenes, 1.0))


def test_a_texture_far_away_is_its_mean_color(bank):
    first, count = bank.groups["poster"]
    image = torch.arange(first, first + count)
    at = torch.rand(count, generator=torch.Generator().manual_seed(0)) * SIDE
    far = bank.sample(image, at, at, torch.full((count,), 20.0))
    texels = bank.texels.view(-1, bank.texels.shape[0] // (len(bank.groups) * 2), 3)
    mean = texels[image, : SIDE * SIDE].mean(dim=1)
    torch.testing.assert_close(far, mean, rtol=0.01, atol=0.01)


def test_held_out_sequences_come_with_truth_for_every_frame():
    sequence = HeldOutSequence(seed=3, frames=3)
    frames = list(sequence.frames())
    assert len(frames) == len(sequence.ground_truth()) == 3
    for frame, (stamp_ns, T) in zip(frames, sequence.ground_truth(), strict=True):
        assert frame.stamp_ns == stamp_ns
        assert sequence.true_depth_m(stamp_ns).shape == frame.rgb.shape[:2]
        torch.testing.assert_close(
            torch.linalg.det(torch.from_numpy(T[:3, :3])).item(), 1.0, rtol=0, atol=1e-5
        )


def test_clips_can_be_picked_from(clips):
    picked = clips.pick(torch.tensor([2, 5]), torch.tensor([[0, 3], [1, 1]]))
    assert isinstance(picked, Clips)
    assert torch.equal(picked.rgb[0, 1], clips.rgb[2, 3])
    assert torch.equal(picked.T_world_camera[1, 0], clips.T_world_camera[5, 1])


def test_a_bank_is_painted_alike_for_the_same_seed(bank):
    assert torch.equal(TextureBank.make(seed=5, per_material=2).texels, bank.texels)


def test_moving_solids_keep_clear_of_the_camera_at_all_times(bank):
    """At half the clearance, because the path is sampled frame by frame."""
    times = torch.linspace(-2.0, 2.0, 9).expand(24, 9)
    rng = torch.Generator().manual_seed(6)
    style = STYLES["handheld"]
    poses = Paths.draw(rng, 24, style).poses(times)
    scenes = draw_scenes(rng, style, poses[..., :3, 3], times, bank, moving_share=1.0)
    moving = (scenes.velocity.norm(dim=-1) > 0) & (scenes.half[..., 0] > 0)
    assert moving.any(dim=1).sum() > 3
    for index in range(9):
        center = scenes.center + scenes.velocity * times[0, index]
        offset = poses[:, index, None, :3, 3] - center
        inside = (offset.norm(dim=-1) < CLEARANCE_M / 2) & moving
        assert not inside.any()


def test_a_crop_keeps_the_optical_axis_in_the_middle(clips):
    cut = clips.crop(40, 64)
    assert cut.rgb.shape[-2:] == cut.depth.shape[-2:] == (40, 64)
    whole, part = (unproject(c.depth.float(), c.focal_px) for c in (clips, cut))
    torch.testing.assert_close(part, whole[:, :, 8:48, 8:72])
