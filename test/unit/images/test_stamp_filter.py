# SPDX-License-Identifier: Apache-2.0
"""Stray stamps do no harm, real jumps of the clock are believed."""

from __future__ import annotations

import pytest

from ttt3r_ros.errors import ImageError
from ttt3r_ros.images.stamp_filter import StampFilter

SECOND = 10**9


def judged(stamps_s: list[float]) -> list[object]:
    """Return per stamp True (begins anew), False (follows) or None (refused)."""
    order = StampFilter()
    verdicts: list[object] = []
    for stamp in stamps_s:
        try:
            verdicts.append(order.accept(round(stamp * SECOND)))
        except ImageError:
            verdicts.append(None)
    return verdicts


def test_stamps_that_follow_each_other_pass():
    assert judged([0.0, 0.1, 0.2, 9.0]) == [False] * 4


def test_a_stamp_that_repeats_or_is_a_little_older_is_refused():
    assert judged([5.0, 5.0, 4.9, 4.1, 5.1]) == [False, None, None, None, False]


@pytest.mark.parametrize("stray", [3605.0, 0.0])
def test_a_single_stray_stamp_is_refused_and_forgotten(stray):
    assert judged([5.0, stray, 5.1, 5.2]) == [False, None, False, False]


def test_stray_stamps_that_do_not_follow_each_other_are_never_believed():
    assert judged([500.0, 3.0, 2.0, 100.0, 50.0, 500.1]) == [False, None, None, None, None, False]


def test_a_recording_that_begins_again_is_believed_at_its_third_image():
    assert judged([100.0, 100.1, 1.0, 1.1, 1.2, 1.3]) == [False, False, None, None, True, False]


def test_after_a_long_pause_the_third_image_goes_on_without_a_restart():
    assert judged([100.0, 5000.0, 5000.1, 5000.2, 5000.3]) == [False, None, None, False, False]


@pytest.mark.parametrize("period", [10.5, 20.0, 3600.0])
def test_images_that_come_seldom_are_believed_at_the_third_jump_and_pass_from_then_on(period):
    stamps = [100.0 + period * k for k in range(8)]
    assert judged(stamps) == [False, None, None, *[False] * 5]


def test_stray_stamps_ever_further_ahead_are_not_images_that_come_seldom():
    assert judged([0.0, 100.0, 5000.0, 90000.0, 0.1]) == [False, None, None, None, False]


def test_the_refusal_names_the_jump_and_the_last_stamp():
    order = StampFilter()
    order.accept(100 * SECOND)
    with pytest.raises(ImageError, match=r"jumps by -99\.000 s from the last one, 100000000000"):
        order.accept(SECOND)


def test_a_driver_that_leaves_stamps_at_zero_is_named():
    order = StampFilter()
    order.accept(0)
    with pytest.raises(ImageError, match="at zero"):
        order.accept(0)
