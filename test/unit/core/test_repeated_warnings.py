# SPDX-License-Identifier: Apache-2.0
"""Warnings that repeat are logged once per kind and counted."""

from __future__ import annotations

import pytest

from ttt3r_ros.repeated_warnings import RepeatedWarnings, kind_of


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("images changed from 640x480 to 320x240", "images changed from 8x6 to 1280x720"),
        ("no map -> base at 1785000000.125", "no map -> base at -3"),
        ("K is [1e-05, 0.0, nan]", "K is [3, inf, -2.5e+10]"),
    ],
)
def test_texts_that_differ_in_their_numbers_are_of_one_kind(text: str, other: str) -> None:
    assert kind_of(text) == kind_of(other)


def test_other_texts_are_of_other_kinds() -> None:
    assert (
        len({kind_of(text) for text in ("no tf", "no odom", "no tf of left", "information", "infinite")})
        == 5
    )


def test_repeated_warnings_are_two_lines_with_their_number() -> None:
    lines: list[str] = []
    warnings = RepeatedWarnings(lines.append)
    for k in range(1422):
        warnings.warn(f"images changed from {k}x480 to {k + 1}x480")
    warnings.warn("another")
    assert lines == ["images changed from 0x480 to 1x480", "another"]
    warnings.summarize()
    assert lines[2:] == ["1421 more warnings like this: images changed from 0x480 to 1x480"]
    warnings.summarize()
    assert len(lines) == 3


def test_a_given_kind_counts_instead_of_the_text() -> None:
    lines: list[str] = []
    warnings = RepeatedWarnings(lines.append)
    for name in "abc":
        warnings.warn(f"{name}.png cannot be read", kind="file")
    warnings.summarize()
    assert lines == ["a.png cannot be read", "2 more warnings like this: a.png cannot be read"]


def test_memory_is_bounded_for_any_number_of_kinds() -> None:
    lines: list[str] = []
    warnings = RepeatedWarnings(lines.append)
    for k in range(10_000):
        warnings.warn("x", kind=str(k))
    warnings.summarize()
    assert len(lines) == 201
    assert lines[-1].startswith("9800 more")
