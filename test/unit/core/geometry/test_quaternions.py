# SPDX-License-Identifier: Apache-2.0
"""Quaternions and rotation matrices, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ttt3r_ros.geometry import (
    canonical_quaternion,
    normalize_quaternion,
    quat_xyzw_from_rotation,
    quaternion_from_rotation,
    require_rotation,
    rotation_from_quat_wxyz,
    rotation_from_quaternion,
    so3_log,
)

components = st.floats(-1.0, 1.0)
quaternions = (
    st.tuples(components, components, components, components)
    .map(np.array)
    .filter(lambda quat: np.linalg.norm(quat) > 1e-3)
)
HALF_TURNS = [(0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0.6, 0, 0.8), (0, -0.6, 0.8, 0)]


@given(quaternions)
def test_rotations_agree_with_scipy_in_both_quaternion_conventions(quat_wxyz: np.ndarray) -> None:
    expected = Rotation.from_quat(quat_wxyz[[1, 2, 3, 0]])
    np.testing.assert_allclose(rotation_from_quat_wxyz(quat_wxyz), expected.as_matrix(), atol=1e-12)
    quat_xyzw = quat_xyzw_from_rotation(expected.as_matrix())
    assert quat_xyzw[3] >= 0
    assert abs(quat_xyzw @ expected.as_quat()) == pytest.approx(1.0, abs=1e-12)


@given(quaternions)
def test_quaternion_and_matrix_are_inverse_conversions(quat_wxyz: np.ndarray) -> None:
    rotation = rotation_from_quat_wxyz(quat_wxyz)
    again = rotation_from_quat_wxyz(quat_xyzw_from_rotation(rotation)[[3, 0, 1, 2]])
    np.testing.assert_allclose(again, rotation, atol=1e-12)
    np.testing.assert_allclose(
        rotation_from_quaternion(quaternion_from_rotation(rotation)), rotation, atol=1e-12
    )


@given(quaternions)
def test_message_conversions_equal_scipy_to_the_last_bit(quat_xyzw: np.ndarray) -> None:
    unit = quat_xyzw / np.linalg.norm(quat_xyzw)
    rotation = Rotation.from_quat(unit).as_matrix()
    np.testing.assert_array_equal(rotation_from_quaternion(quat_xyzw), rotation)
    for matrix in (rotation, rotation.astype(np.float32).astype(np.float64), rotation + 1e-4):
        expected = canonical_quaternion(Rotation.from_matrix(matrix).as_quat())
        np.testing.assert_array_equal(quaternion_from_rotation(matrix), expected)


@pytest.mark.parametrize("quat_wxyz", HALF_TURNS)
def test_half_turns_have_an_exact_quaternion(quat_wxyz: tuple[float, ...]) -> None:
    rotation = rotation_from_quat_wxyz(np.array(quat_wxyz, float))
    for quat_xyzw in (quat_xyzw_from_rotation(rotation), np.array(quaternion_from_rotation(rotation))):
        np.testing.assert_allclose(
            rotation_from_quat_wxyz(quat_xyzw[[3, 0, 1, 2]]), rotation, atol=1e-12
        )
    assert np.linalg.norm(so3_log(rotation)) == pytest.approx(np.pi)


def test_the_identity_has_the_quaternion_0_0_0_1() -> None:
    np.testing.assert_allclose(quat_xyzw_from_rotation(np.eye(3)), [0, 0, 0, 1], atol=1e-15)
    assert quaternion_from_rotation(np.eye(4)) == (0, 0, 0, 1)


@given(quaternions)
def test_q_and_minus_q_have_one_canonical_form(quat_xyzw: np.ndarray) -> None:
    x, y, z, w = canonical_quaternion(quat_xyzw)
    assert canonical_quaternion(-quat_xyzw) == (x, y, z, w)
    assert next(value for value in (w, x, y, z) if value) > 0
    np.testing.assert_allclose(np.abs((x, y, z, w)), np.abs(quat_xyzw), atol=1e-9)


@pytest.mark.parametrize(
    ("quat_xyzw", "expected"),
    [
        ((-1.0, 0.0, 0.0, 0.0), (1, 0, 0, 0)),
        ((0.0, -0.6, 0.8, 0.0), (0, 0.6, -0.8, 0)),
        ((0.6, 0.0, 0.8, -1e-12), (0.6, 0, 0.8, 0)),  # rounding noise has no sign
        ((0.6, 0.0, 0.0, -0.8), (-0.6, 0, 0, 0.8)),
    ],
)
def test_the_first_component_after_w_has_the_sign_at_half_turns(
    quat_xyzw: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    assert canonical_quaternion(np.array(quat_xyzw)) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("norm", [1e-8, 1e-3, 5.0, 1e150])
def test_a_quaternion_of_any_norm_gives_the_same_rotation(norm: float) -> None:
    quat = np.array([0.1, -0.5, 0.7, 0.3])
    np.testing.assert_allclose(np.linalg.norm(normalize_quaternion(norm * quat)), 1.0, atol=1e-15)
    np.testing.assert_allclose(
        rotation_from_quaternion(norm * quat), rotation_from_quaternion(quat), atol=1e-15
    )


@pytest.mark.parametrize("value", [0.0, 1e-10, np.nan, np.inf])
def test_a_quaternion_without_direction_is_invalid(value: float) -> None:
    for convert in (normalize_quaternion, rotation_from_quaternion):
        with pytest.raises(ValueError, match=str(value)):
            convert((value, 0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    "matrix", [np.diag([1.0, 1.0, -1.0]), 2 * np.eye(3), np.zeros((3, 3)), np.full((3, 3), np.nan)]
)
def test_mirrors_scales_and_singular_matrices_are_no_rotation(matrix: np.ndarray) -> None:
    for convert in (require_rotation, quaternion_from_rotation):
        with pytest.raises(ValueError, match="rotation"):
            convert(matrix)
