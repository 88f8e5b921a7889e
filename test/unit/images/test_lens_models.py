# SPDX-License-Identifier: Apache-2.0
"""Names and coefficients of lens models."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.images.lens_models import find_lens, with_ros_lens
from ttt3r_ros.types import Intrinsics

K4 = (-0.28, 0.07, 0.0002, -0.0005)
K5 = (*K4, 0.01)
K8 = (*K5, 0.3, -0.1, 0.02)
K12 = (*K8, 0.001, 0.002, -0.001, 0.003)
K14 = (*K12, 0.01, -0.02)

MODELS = [
    # name, coefficients, ROS name, coefficients of OpenCV
    ("plumb_bob", K4, "plumb_bob", (*K4, 0.0)),
    ("plumb_bob", K5, "plumb_bob", K5),
    ("plumb_bob", (*K5, 0.0, 0.0, 0.0), "plumb_bob", K5),
    ("plumb_bob", (*K5, 0.0, 0.0), "plumb_bob", K5),
    ("plumb_bob", K8, "rational_polynomial", K8),
    ("rational_polynomial", K8, "rational_polynomial", K8),
    ("rational_polynomial", K12, "rational_polynomial", K12),
    ("rational_polynomial", K14, "rational_polynomial", K14),
    ("rational_polynomial", (*K12, 0.0, 0.0), "rational_polynomial", K12),
    ("rational_polynomial", K5, "plumb_bob", K5),
    ("radtan", K4, "plumb_bob", (*K4, 0.0)),
    ("radial-tangential", K4, "plumb_bob", (*K4, 0.0)),
    ("Brown-Conrady", K5, "plumb_bob", K5),
    ("brown_conrady", K5, "plumb_bob", K5),
    ("plumb bob", K5, "plumb_bob", K5),
    ("PLUMB_BOB", K5, "plumb_bob", K5),
    ("pinhole-radtan", K4, "plumb_bob", (*K4, 0.0)),
    ("opencv", K4, "plumb_bob", (*K4, 0.0)),
    ("thin_prism", K12, "rational_polynomial", K12),
    ("equidistant", K4, "equidistant", K4),
    ("equidistant", (0.0,) * 4, "equidistant", (0.0,) * 4),
    ("fisheye", K4, "equidistant", K4),
    ("pinhole-equi", K4, "equidistant", K4),
    ("kannala_brandt", K4, "equidistant", K4),
    ("Kannala Brandt4", (*K4, 0.0), "equidistant", K4),
    ("none", (), "", ()),
    ("none", (0.0,) * 5, "", ()),
    ("", (), "", ()),
    ("pinhole", (), "", ()),
    ("pinhole", (0.0,) * 5, "", ()),
    ("equidistant", (), "", ()),
    ("Inverse Brown Conrady", (0.0,) * 5, "", ()),  # RealSense, rectified images
]  # fmt: skip


@pytest.mark.parametrize(("name", "coefficients", "model", "expected"), MODELS)
def test_lens_models_of_drivers_have_a_ros_name(
    name: str, coefficients: tuple[float, ...], model: str, expected: tuple[float, ...]
) -> None:
    lens = find_lens(name, coefficients)
    assert (lens.model, lens.coefficients, lens.remark) == (model, expected, "")


@pytest.mark.parametrize("name", ["", "pinhole"])
@pytest.mark.parametrize("coefficients", [K4, K5, K8, K12, K14])
def test_coefficients_without_a_model_are_those_of_opencv_with_a_remark(
    name: str, coefficients: tuple[float, ...]
) -> None:
    lens = find_lens(name, coefficients)
    assert lens.coefficients[: len(coefficients)] == coefficients
    assert lens.model in lens.remark
    assert lens.model == ("plumb_bob" if len(coefficients) <= 5 else "rational_polynomial")


def test_coefficients_of_a_lens_without_distortion_are_ignored_with_a_remark() -> None:
    lens = find_lens("none", K5)
    assert (lens.model, lens.coefficients) == ("", ())
    assert "'none'" in lens.remark


@pytest.mark.parametrize(
    ("name", "coefficients"),
    [
        ("ds", ()), ("ds", K4), ("eucm", ()), ("omni-radtan", K4), ("double_sphere", (0.0,) * 4), ("mei", (0.0,) * 5),
        ("fov", (0.9,)), ("ucm", ()), ("homemade", K5), ("Inverse Brown Conrady", K5),
        ("plumb_bob", K5[:1]), ("plumb_bob", K5[:3]), ("plumb_bob", (*K5, 0.1)), ("plumb_bob", (*K8, 0.1)),
        ("rational_polynomial", (*K14, 0.1)), ("fisheye", K5), ("equidistant", K4[:2]), ("", K5[:1]),
        ("plumb_bob", (*K4, math.nan)), ("fisheye", (math.inf,) * 4),
    ],
)  # fmt: skip
def test_the_error_of_an_unsupported_lens_has_its_name(
    name: str, coefficients: tuple[float, ...]
) -> None:
    with pytest.raises(ConfigError, match=rf"'{name}'"):
        find_lens(name, coefficients)


@given(st.text(max_size=20), st.lists(st.floats(), max_size=20))
def test_every_name_and_list_is_a_lens_of_opencv_or_an_error(name: str, values: list[float]) -> None:
    try:
        lens = find_lens(name, values)
    except ConfigError:
        return
    count = len(lens.coefficients)
    assert (lens.model, count) in {
        ("", 0), ("plumb_bob", 5), ("equidistant", 4),
        ("rational_polynomial", 8), ("rational_polynomial", 12), ("rational_polynomial", 14),
    }  # fmt: skip
    again = find_lens(lens.model, lens.coefficients)
    assert (again.model, again.coefficients) == (lens.model, lens.coefficients)


def test_a_camera_with_a_ros_name_is_not_changed() -> None:
    for model, coefficients in [
        ("", ()),
        ("plumb_bob", (0.0,) * 5),
        ("plumb_bob", K5),
        ("equidistant", K4),
    ]:
        camera = Intrinsics(100.0, 100.0, 64.0, 48.0, 128, 96, model, coefficients)
        assert with_ros_lens(camera) is camera
