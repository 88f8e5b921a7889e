# SPDX-License-Identifier: Apache-2.0
"""Stray stamps are rejected, confirmed jumps of the clock are accepted."""

from __future__ import annotations

import pytest

from ttt3r_ros.errors import ImageError
from ttt3r_ros.images.stamp_filter import StampFilter

SECOND = 10**9


def results(stamps_s: list[float]) -> list[object]:
    """Return per stamp True (jump back), False (next stamp) or None (rejected)."""
    stamp_filter = StampFilter()
    results_list: list[object] = []
    for stamp in stamps_s:
        try:
            results_list.append(stamp_filter.accept(round(stamp * SECOND)))
        except ImageError:
            results_list.append(None)
    return results_list


def test_consecutive_stamps_are_accepted():
    assert results([0.0, 0.1, 0.2, 9.0]) == [False] * 4


def test_repeated_and_slightly_older_stamps_are_rejected():
    assert results([5.0, 5.0, 4.9, 4.1, 5.1]) == [False, None, None, None, False]


@pytest.mark.parametrize("stray", [3605.0, 0.0])
def test_a_single_stray_stamp_is_rejected_without_effect(stray):
    assert results([5.0, stray, 5.1, 5.2]) == [False, None, False, False]


def test_unordered_stray_stamps_do_not_confirm_a_jump():
    assert results([500.0, 3.0, 2.0, 100.0, 50.0, 500.1]) == [False, None, None, None, None, False]


def test_a_restarted_recording_is_accepted_at_its_third_image():
    assert results([100.0, 100.1, 1.0, 1.1, 1.2, 1.3]) == [False, False, None, None, True, False]


def test_after_a_long_pause_the_third_image_is_accepted_without_a_restart():
    assert results([100.0, 5000.0, 5000.1, 5000.2, 5000.3]) == [False, None, None, False, False]


@pytest.mark.parametrize("period", [10.5, 20.0, 3600.0])
def test_images_of_a_low_rate_are_accepted_from_the_third_jump_on(period):
    stamps = [100.0 + period * k for k in range(8)]
    assert results(stamps) == [False, None, None, *[False] * 5]


def test_stray_stamps_at_growing_distances_are_not_a_low_frame_rate():
    assert results([0.0, 100.0, 5000.0, 90000.0, 0.1]) == [False, None, None, None, False]


def test_the_error_has_the_jump_and_the_last_stamp():
    stamp_filter = StampFilter()
    stamp_filter.accept(100 * SECOND)
    with pytest.raises(ImageError, match=r"jumps by -99\.000 s from the last one, 100000000000"):
        stamp_filter.accept(SECOND)


def test_the_error_of_zero_stamps_mentions_the_driver():
    stamp_filter = StampFilter()
    stamp_filter.accept(0)
    with pytest.raises(ImageError, match="at zero"):
        stamp_filter.accept(0)
