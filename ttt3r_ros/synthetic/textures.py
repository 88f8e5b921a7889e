# SPDX-License-Identifier: Apache-2.0
"""Procedural surface materials with the statistics of photographs, shared with the training code.

A material is an (H, W, 3) image of linear albedo that tiles; H and W are powers of two.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ttt3r_ros.types import Float64Array

Shape = tuple[int, int]
Rgb = tuple[float, float, float]
Material = Callable[[np.random.Generator, Shape], "Float64Array"]


def fractal_noise(
    rng: np.random.Generator, shape: Shape, *, exponent: float = 1.0, stretch: float = 1.0
) -> Float64Array:
    """Return periodic noise (H, W) of zero mean and unit deviation; its amplitude is proportional to 1/f^exponent.

    ``stretch`` elongates the features along x, like the grain of wood.
    """
    fy = np.fft.fftfreq(shape[0])[:, None]
    fx = np.fft.rfftfreq(shape[1])[None, :] * stretch
    radius = np.hypot(fx, fy)
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) / radius**exponent
    field: Float64Array = np.fft.irfft2(spectrum, s=shape)
    field /= field.std()
    return field


def _tint(rng: np.random.Generator, base: Float64Array, lightness: Float64Array) -> Float64Array:
    """Return ``base`` with variations of log-lightness (H, W) and, much smaller, of hue."""
    axis = rng.normal(size=3)
    axis = 0.05 * (axis - axis.mean())
    hue = fractal_noise(rng, (lightness.shape[0], lightness.shape[1]))
    tinted: Float64Array = base * np.exp(lightness[..., None] + hue[..., None] * axis)
    return tinted


def _mix(first: Float64Array, second: Float64Array, weight: Float64Array) -> Float64Array:
    mixed: Float64Array = first + (second - first) * weight[..., None]
    return mixed


def plaster(rng: np.random.Generator, shape: Shape, base: Rgb) -> Float64Array:
    """Return worn paint: clouds, stains with an edge, and scratches."""
    lightness = 0.16 * fractal_noise(rng, shape) + 0.05 * fractal_noise(rng, shape, exponent=0.3)
    stain = fractal_noise(rng, shape, exponent=1.3)
    scratch = fractal_noise(rng, shape, exponent=0.8, stretch=6.0)
    lightness = lightness - 0.22 * np.clip((stain - 0.9) * 6.0, 0.0, 1.0)
    lightness = lightness + 0.25 * np.clip((scratch - 2.1) * 4.0, 0.0, 1.0)
    return _tint(rng, np.asarray(base), lightness)


def courses(  # bricks, tiles, planks and panels
    rng: np.random.Generator,
    shape: Shape,
    base: Rgb,
    *,
    rows: int,
    columns: int,
    spread: float = 0.2,
    joint: Rgb = (0.16, 0.15, 0.14),
    joint_texels: float = 1.5,
    stretch: float = 1.0,
) -> Float64Array:
    """Return staggered rows of pieces with joints; their tones differ by ``spread`` (log units)."""
    height, width = shape
    y = (np.arange(height)[:, None] + 0.5) * rows / height
    row = y.astype(np.intp)
    shift = rng.uniform(size=rows) if stretch > 1.0 else np.arange(rows) % 2 * 0.5
    x = (np.arange(width)[None, :] + 0.5) * columns / width + shift[row]
    edge_x = (0.5 - np.abs(x % 1.0 - 0.5)) * width / columns
    edge_y = (0.5 - np.abs(y % 1.0 - 0.5)) * height / rows
    joint_weight = np.clip(joint_texels + 0.5 - np.minimum(edge_x, edge_y), 0.0, 1.0)
    tone = rng.normal(scale=spread, size=(rows, columns))[row, x.astype(np.intp) % columns]
    grain = fractal_noise(rng, shape, stretch=stretch)
    fine = fractal_noise(rng, shape, exponent=0.4, stretch=stretch)
    pieces = _tint(rng, np.asarray(base), tone + 0.17 * grain + 0.07 * fine)
    return _mix(pieces, np.asarray(joint), joint_weight)


def plaid(rng: np.random.Generator, shape: Shape, base: Rgb) -> Float64Array:
    """Return woven cloth of crossing bands."""
    bands = [np.repeat(rng.normal(scale=0.4, size=size // 16), 16) for size in shape]
    weave = 0.06 * ((np.arange(shape[0])[:, None] // 2 + np.arange(shape[1]) // 2) % 2 * 2 - 1)
    lightness = bands[0][:, None] + bands[1][None, :] + weave
    return _tint(rng, np.asarray(base), lightness + 0.15 * fractal_noise(rng, shape))


def books(rng: np.random.Generator, shape: Shape, *, rows: int) -> Float64Array:
    """Return shelves of colored spines."""
    height, width = shape
    image = np.empty((height, width, 3))
    image[:] = (0.4, 0.28, 0.17)
    pitch = height // rows
    for top in range(0, pitch * rows, pitch):
        shelf = image[top + 4 : top + pitch]
        shelf[:] = 0.015
        left = 0
        while left < width - 4:
            right = min(left + int(rng.integers(5, 15)), width)
            spine = shelf[int(rng.integers(2, max(3, pitch // 3))) :, left : right - 1]
            spine[:] = _draw_color(rng)
            label = int(rng.integers(4, max(5, spine.shape[0] // 2)))
            spine[label : label + int(rng.integers(2, 9)), 1:-1] = _draw_color(rng)
            left = right
    image *= np.exp(0.2 * fractal_noise(rng, shape))[..., None]
    return image


def _draw_color(rng: np.random.Generator) -> Float64Array:
    """Return one color of print or cloth: any hue, dark to light."""
    color = rng.uniform(0.15, 1.0, size=3) ** 1.5
    scaled: Float64Array = color / color.max() * rng.uniform(0.06, 0.8)
    return scaled


def poster(rng: np.random.Generator, shape: Shape) -> Float64Array:
    """Return a framed print: a fractal landscape in few colors, discs, and lines of lettering."""
    height, width = shape
    y, x = np.mgrid[0:height, 0:width]
    field = fractal_noise(rng, shape, exponent=1.5) + 1.5 * (y / height - 0.5)
    levels = np.digitize(field, np.quantile(field, (0.2, 0.45, 0.7, 0.88)))
    image: Float64Array = np.stack([_draw_color(rng) for _ in range(5)])[levels]
    for _ in range(4):
        center_y, center_x = rng.uniform(0.15, 0.85, size=2) * (height, width)
        radius = rng.uniform(0.05, 0.16) * height
        disc = np.clip(radius - np.hypot(y - center_y, x - center_x) + 0.5, 0.0, 1.0)
        image = _mix(image, _draw_color(rng), disc)
    for top in (int(height * share) for share in (0.76, 0.81, 0.86)):
        glyphs = np.repeat(rng.uniform(size=int(width * rng.uniform(0.12, 0.2))) < 0.62, 4)
        image[top : top + height // 40 + 2, width // 10 : width // 10 + glyphs.size][:, glyphs] = 0.03
    image *= np.exp(0.12 * fractal_noise(rng, shape))[..., None]
    for border, color in ((height // 12, np.full(3, 0.75)), (height // 24, 0.4 * _draw_color(rng))):
        image[:border] = image[-border:] = color
        image[:, :border] = image[:, -border:] = color
    return image


def window(rng: np.random.Generator, shape: Shape) -> Float64Array:
    """Return a bright view of sky over trees, behind white glazing bars."""
    height, width = shape
    rise = np.linspace(1.0, 0.0, height)[:, None]
    cloud = fractal_noise(rng, shape, exponent=1.4)
    sky = _mix(
        np.full((*shape, 3), 1.5), np.array([0.6, 0.95, 1.5]), np.clip(0.5 + 0.5 * cloud, 0.0, 1.0)
    )
    leaves = np.array([0.16, 0.24, 0.08]) * np.exp(0.6 * fractal_noise(rng, shape))[..., None]
    trees = np.clip((0.42 + 0.1 * fractal_noise(rng, shape, exponent=1.2) - rise) * 25.0, 0.0, 1.0)
    view = _mix(sky, leaves, trees)
    bar = height // 32
    for center in (height // 2, 0, height):
        view[max(center - bar, 0) : center + bar] = 0.7
    for center in (width // 3, 2 * width // 3, 0, width):
        view[:, max(center - bar, 0) : center + bar] = 0.7
    return view


def carton(rng: np.random.Generator, shape: Shape) -> Float64Array:
    """Return corrugated board with a strip of tape and printed labels."""
    height, width = shape
    ribs = 0.05 * np.sin(np.arange(width) * (np.pi / 4.0))[None, :]
    image = _tint(rng, np.array([0.42, 0.27, 0.15]), ribs + 0.14 * fractal_noise(rng, shape))
    tape = int(height * rng.uniform(0.35, 0.6))
    image[tape : tape + height // 12] *= (1.3, 1.25, 1.1)
    for _ in range(4):
        top, left = (int(v) for v in rng.uniform(0.05, 0.7, size=2) * (height, width))
        label = image[top : top + height // 6, left : left + width // 5]
        label[:] = 0.7
        label[3:-3:4, 3:-6] = 0.05
        label[2 : label.shape[0] // 3, 2 : label.shape[1] // 3] = _draw_color(rng)
    return image


def _wood(rng: np.random.Generator, shape: Shape, base: Rgb, *, rows: int, columns: int) -> Float64Array:
    return courses(
        rng, shape, base, rows=rows, columns=columns, spread=0.22, stretch=9.0, joint=(0.05, 0.04, 0.03)
    )


MATERIALS: dict[str, tuple[Material, ...]] = {
    "wall": (
        partial(plaster, base=(0.62, 0.56, 0.44)),
        partial(plaster, base=(0.36, 0.46, 0.50)),
        partial(plaster, base=(0.55, 0.40, 0.33)),
        partial(_wood, rows=10, columns=3, base=(0.40, 0.27, 0.16)),
        partial(courses, rows=8, columns=16, base=(0.46, 0.52, 0.44), spread=0.12),
        partial(courses, rows=36, columns=26, base=(0.42, 0.20, 0.13), joint=(0.50, 0.47, 0.40)),
    ),
    "floor": (
        partial(_wood, rows=32, columns=4, base=(0.36, 0.22, 0.12)),
        partial(_wood, rows=24, columns=3, base=(0.25, 0.17, 0.11)),
        partial(courses, rows=12, columns=14, base=(0.42, 0.38, 0.33), spread=0.16),
    ),
    "ceiling": (partial(courses, rows=8, columns=10, base=(0.66, 0.64, 0.6), spread=0.06),),
    "wood": (
        partial(_wood, rows=4, columns=1, base=(0.46, 0.28, 0.14)),
        partial(_wood, rows=3, columns=1, base=(0.22, 0.12, 0.07)),
        partial(_wood, rows=5, columns=1, base=(0.55, 0.44, 0.30)),
    ),
    "ceramic": (
        partial(courses, base=(0.20, 0.34, 0.44), rows=7, columns=9, spread=0.5, joint=(0.6, 0.58, 0.5)),
        partial(plaid, base=(0.52, 0.33, 0.14)), partial(plaster, base=(0.50, 0.50, 0.46)),
    ),
    "cloth": (
        partial(plaid, base=(0.3, 0.1, 0.09)), partial(plaid, base=(0.1, 0.19, 0.3)),
        partial(plaid, base=(0.34, 0.3, 0.2)),
    ),
    "books": (partial(books, rows=5), partial(books, rows=4)),
    "carton": (carton,), "poster": (poster,), "window": (window,),
}  # fmt: skip


def make_texture(kind: str, rng: np.random.Generator, shape: Shape) -> Float64Array:
    """Return an image of a random material of a kind."""
    return MATERIALS[kind][int(rng.integers(len(MATERIALS[kind])))](rng, shape)
