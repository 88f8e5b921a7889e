# SPDX-License-Identifier: Apache-2.0
"""The demo sequence: exact geometry, images with the statistics of photographs, a handheld path."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.synthetic.room import ProceduralRoom, make_scene
from ttt3r_ros.synthetic.scene import Solid
from ttt3r_ros.synthetic.texture_atlas import TextureAtlas
from ttt3r_ros.synthetic.textures import fractal_noise

if TYPE_CHECKING:
    from ttt3r_ros.synthetic.room import RenderedFrame
    from ttt3r_ros.types import Float64Array

SEEDS = (0, 7)


@pytest.fixture(scope="module")
def rooms() -> dict[int, ProceduralRoom]:
    return {seed: ProceduralRoom(seed=seed) for seed in SEEDS}


@pytest.fixture(params=SEEDS)
def room(request: pytest.FixtureRequest, rooms: dict[int, ProceduralRoom]) -> ProceduralRoom:
    return rooms[request.param]


def back_project(room: ProceduralRoom, frame: RenderedFrame) -> Float64Array:
    """Return the world points (H, W, 3) of a frame, from depth, pose and intrinsics alone."""
    camera = room.intrinsics
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    rays = np.stack(
        [(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1
    )
    points = rays * frame.depth_m[..., None].astype(np.float64)
    return points @ frame.T_world_camera[:3, :3].T + frame.T_world_camera[:3, 3]


def project(room: ProceduralRoom, points: Float64Array, T_world_camera: Float64Array) -> Float64Array:
    """Return u, v and depth (..., 3) of world points."""
    local = (points - T_world_camera[:3, 3]) @ T_world_camera[:3, :3]
    uv = local[..., :2] / np.maximum(local[..., 2:], 1e-6) * room.intrinsics.fx
    uv += (room.intrinsics.cx, room.intrinsics.cy)
    return np.concatenate([uv, local[..., 2:]], axis=-1)


def bilinear(image: Float64Array, u: Float64Array, v: Float64Array) -> Float64Array:
    left, top = np.floor(u).astype(int), np.floor(v).astype(int)
    fu, fv = u - left, v - top
    above = image[top, left] * (1 - fu) + image[top, left + 1] * fu
    below = image[top + 1, left] * (1 - fu) + image[top + 1, left + 1] * fu
    mixed: Float64Array = above * (1 - fv) + below * fv
    return mixed


def compare(room: ProceduralRoom, i: int, j: int) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return relative depth errors of frame i projected into j, and gray values in both, where visible."""
    first, second = room.render(i), room.render(j)
    u, v, z = project(room, back_project(room, first), second.T_world_camera).reshape(-1, 3).T
    camera = room.intrinsics
    inside = (z > 0.1) & (u >= 0) & (v >= 0) & (u < camera.width - 1) & (v < camera.height - 1)
    inside_count = int(inside.sum())
    assert inside_count > 0.3 * u.size
    u, v, z = u[inside], v[inside], z[inside]
    # Planes are straight in inverse depth, not in depth.
    error = np.abs(z * bilinear(1.0 / second.depth_m.astype(np.float64), u, v) - 1.0)
    visible = error < 0.02
    assert visible.sum() > 0.8 * inside_count
    gray_i = first.rgb.mean(axis=2).ravel()[inside][visible]
    gray_j = bilinear(second.rgb.mean(axis=2), u, v)[visible]
    return error[visible], gray_i, gray_j


def test_depth_of_one_frame_reprojects_to_the_depth_of_another(room: ProceduralRoom) -> None:
    for i, j in ((0, 3), (30, 38), (70, 65), (100, 110)):
        error = compare(room, i, j)[0]
        assert np.median(error) < 1e-5, (i, j)
        assert np.quantile(error, 0.9) < 1e-3, (i, j)


def test_a_point_has_the_same_color_in_nearby_frames(room: ProceduralRoom) -> None:
    for i in (5, 45, 85):
        _, gray_i, gray_j = compare(room, i, i + 2)
        assert np.corrcoef(gray_i, gray_j)[0, 1] > 0.95, i
        assert np.median(np.abs(gray_i - gray_j)) < 4.0, i


def test_rotations_are_orthonormal_and_the_camera_is_upright(room: ProceduralRoom) -> None:
    for _, T_world_camera in room.ground_truth():
        rotation = T_world_camera[:3, :3]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        np.testing.assert_array_equal(T_world_camera[3], [0.0, 0.0, 0.0, 1.0])
        assert rotation[2, 1] < -0.8, "the optical y axis points down"
        assert abs(np.degrees(np.arcsin(rotation[2, 0]))) < 8.0, "mild roll"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_bytes(
    rooms: dict[int, ProceduralRoom],
) -> None:
    first, other = (rooms[seed].render(4) for seed in SEEDS)
    make_scene.cache_clear()
    again = ProceduralRoom(seed=SEEDS[0]).render(4)
    assert first.rgb.tobytes() == again.rgb.tobytes()
    assert first.depth_m.tobytes() == again.depth_m.tobytes()
    assert first.T_world_camera.tobytes() == again.T_world_camera.tobytes()
    assert first.rgb.tobytes() != other.rgb.tobytes()
    assert first.depth_m.tobytes() != other.depth_m.tobytes()


def test_a_frame_does_not_depend_on_which_frames_were_rendered_before(room: ProceduralRoom) -> None:
    before = room.render(9)
    room.render(50)
    assert room.render(9).rgb.tobytes() == before.rgb.tobytes()
    assert room.render(9).rgb.tobytes() != room.render(10).rgb.tobytes()


def test_the_spectrum_of_an_image_is_roughly_one_over_frequency(room: ProceduralRoom) -> None:
    window = np.outer(np.hanning(240), np.hanning(240))
    frequency = np.hypot(np.fft.fftfreq(240)[:, None], np.fft.fftfreq(240)[None, :]) * 240
    rings = np.geomspace(3, 90, 12)
    bands = [(frequency >= low) & (frequency < high) for low, high in pairwise(rings)]
    for i in (0, 60):
        gray = room.render(i).rgb.mean(axis=2)[:, 40:280]
        amplitude = np.abs(np.fft.fft2((gray - gray.mean()) * window))
        radial = [amplitude[band].mean() for band in bands]
        slope = np.polyfit(np.log(np.sqrt(rings[1:] * rings[:-1])), np.log(radial), 1)[0]
        assert -2.2 < slope < -0.6, i


def test_images_are_neither_dark_nor_saturated_nor_flat(room: ProceduralRoom) -> None:
    for i in range(0, 120, 20):
        rgb = room.render(i).rgb
        assert 60 < rgb.mean() < 190, i
        assert np.mean((rgb == 0) | (rgb == 255)) < 0.05, i
        blocks = rgb.mean(axis=2).reshape(6, 40, 8, 40).std(axis=(1, 3))
        assert blocks.min() > 2.5, f"frame {i}: more than sensor noise everywhere"
        assert np.median(blocks) > 8.0, i


def test_the_path_is_inside_the_room_and_clear_of_objects(room: ProceduralRoom) -> None:
    assert min(room.clearance_m(i) for i in range(len(room))) > 0.35
    positions = np.array([T[:3, 3] for _, T in room.ground_truth()])
    assert np.all(np.abs(positions[:, :2]) < 2.0)
    assert np.all((positions[:, 2] > 1.0) & (positions[:, 2] < 1.9))


def test_no_visible_point_is_nearer_than_the_clearance(room: ProceduralRoom) -> None:
    for i in range(0, 120, 15):
        frame = room.render(i)
        ranges_m = np.linalg.norm(back_project(room, frame) - frame.T_world_camera[:3, 3], axis=-1)
        assert ranges_m.min() > room.clearance_m(i) - 1e-4, i
        assert 0.35 < frame.depth_m.min() < frame.depth_m.max() < 7.0, i


def test_steps_are_those_of_a_handheld_camera_and_the_loop_closes(room: ProceduralRoom) -> None:
    poses = np.array([T for _, T in room.ground_truth()])
    step_m = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    cosine = (np.einsum("nij,nij->n", poses[1:, :3, :3], poses[:-1, :3, :3]) - 1.0) / 2.0
    step_deg = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    assert 0.01 < step_m.min() < step_m.max() < 0.055
    assert 0.02 < np.median(step_m) < 0.05
    assert 1.0 < np.median(step_deg) < 3.0
    assert step_deg.max() < 4.0
    assert 3.0 < step_m.sum() < 6.0
    assert np.linalg.norm(poses[-1, :3, 3] - poses[0, :3, 3]) < 0.055


def test_stamps_follow_the_rate_and_speed_does_not_depend_on_it() -> None:
    slow, fast = ProceduralRoom(frames=5, rate_hz=10.0), ProceduralRoom(frames=9, rate_hz=20.0)
    assert [slow.stamp_ns(i) - slow.stamp_ns(0) for i in range(5)] == [i * 100_000_000 for i in range(5)]
    assert slow.stamp_ns(0) > 0
    np.testing.assert_allclose(slow.T_world_camera(3), fast.T_world_camera(6), atol=1e-12)


def test_frames_have_image_stamp_frame_id_and_exact_intrinsics(
    rooms: dict[int, ProceduralRoom],
) -> None:
    room = rooms[SEEDS[0]]
    assert len(room) == len(room.ground_truth()) == 120
    for i, (frame, (stamp_ns, _)) in enumerate(zip(room.frames(), room.ground_truth(), strict=False)):
        assert frame.stamp_ns == stamp_ns
        assert frame.camera_frame == "camera_optical_frame"
        np.testing.assert_array_equal(frame.rgb, room.render(i).rgb)
        assert frame.rgb.shape == (240, 320, 3)
        assert frame.rgb.dtype == np.uint8
        assert frame.intrinsics is room.intrinsics
        if i == 1:
            break


def test_intrinsics_follow_from_size_and_field_of_view() -> None:
    camera = ProceduralRoom(width=80, height=60, horizontal_fov_deg=90.0).intrinsics
    assert (camera.width, camera.height, camera.cx, camera.cy) == (80, 60, 39.5, 29.5)
    assert camera.fx == camera.fy == pytest.approx(40.0)


def test_a_frame_outside_the_sequence_is_an_index_error() -> None:
    for i in (-1, 3):
        with pytest.raises(IndexError, match=f"frame {i} .*0 to 2"):
            ProceduralRoom(frames=3).render(i)


def test_parameters_out_of_range_are_errors_with_name_and_value() -> None:
    invalid = {
        "seed": -1, "frames": 0, "width": 1, "height": 0, "rate_hz": 0.0, "horizontal_fov_deg": 180.0,
    }  # fmt: skip
    for name, value in invalid.items():
        with pytest.raises(ConfigError, match=rf"{name} is {value}: expected"):
            ProceduralRoom(**{name: value})  # type: ignore[arg-type]


def test_rays_intersect_a_rotated_box_and_a_cylinder_at_the_exact_range() -> None:
    c = np.sqrt(0.5)
    turn = np.array([[c, -c, 0.0], [c, c, 0.0], [0.0, 0.0, 1.0]])
    box = Solid("wood", np.array([3.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0]), turn)
    cylinder = Solid("ceramic", np.array([3.0, 0.0, 0.0]), np.array([0.5, 0.5, 1.0]), turn)
    rays = np.array([[1.0, 0.1, 0.0], [2.0, 0.2, 0.0], [1.0, 2.0, 0.0], [-1.0, 0.0, 0.0]]).T
    expected = (3.0 - np.sqrt(2.0)) / 0.9  # on the edge 3 - x + y = sqrt(2)
    np.testing.assert_allclose(
        box.intersect(np.zeros(3), rays)[0], [expected, expected / 2, np.inf, np.inf], atol=1e-12
    )
    hit = cylinder.intersect(np.zeros(3), np.array([[1.0], [0.0], [0.2]]))[0][0]
    assert hit == pytest.approx(2.5)
    above = cylinder.intersect(np.array([3.0, 0.2, 4.0]), np.array([[0.0], [0.0], [-1.0]]))
    assert (above[0][0], int(above[1][0])) == (pytest.approx(3.0), 5)


def test_a_texture_at_a_high_mip_level_is_its_mean() -> None:
    board = np.where(np.indices((16, 16)).sum(axis=0) % 2 == 0, 0.9, 0.1)[..., None].repeat(3, axis=2)
    atlas = TextureAtlas([board])
    image = np.zeros(3, dtype=np.intp)
    u = np.array([0.0, 1.0, 17.0], dtype=np.float32)
    near = atlas.sample(image, u, np.zeros(3, dtype=np.float32), np.full(3, -1.0, dtype=np.float32))
    far = atlas.sample(image, u, np.zeros(3, dtype=np.float32), np.full(3, 4.0, dtype=np.float32))
    np.testing.assert_allclose(near[0], [0.9, 0.1, 0.1], atol=1e-6)
    np.testing.assert_allclose(far, 0.5, atol=1e-6)


def test_noise_has_the_given_spectral_exponent() -> None:
    field = fractal_noise(np.random.default_rng(0), (256, 256), exponent=1.0)
    row = np.abs(np.fft.rfft2(field))
    frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None, :])
    band = (frequency > 0.02) & (frequency < 0.4)
    slope = np.polyfit(np.log(frequency[band]), np.log(row[band] + 1e-12), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.05)
    assert abs(field.mean()) < 1e-12
    assert field.std() == pytest.approx(1.0)
