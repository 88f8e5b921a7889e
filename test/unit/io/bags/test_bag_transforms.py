# SPDX-License-Identifier: Apache-2.0
"""Recorded transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from bag_recording import images, record, tf

from ttt3r_ros.io.bags.reader import Bag
from ttt3r_ros.io.bags.transforms import BagTransforms, RecordedTransform

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from bag_recording import Recording


def test_static_and_dynamic_transforms_are_looked_up_along_chains(tmp_path: Path) -> None:
    kind = "tf2_msgs/msg/TFMessage"
    messages: list[Recording] = [
        ("/tf_static", kind, tf("base_link", "left_optical", 0, 0.5)),
        *[("/tf", kind, tf("odom", "/base_link", k, 2.0 * k)) for k in (12, 10, 11)],
        *images(),
    ]
    bag = Bag(record(tmp_path / "bag", messages))
    transforms = bag.transforms()
    assert transforms is not None
    assert bag.camera_frame == "left_optical"
    assert transforms.frames() == {"odom", "base_link", "left_optical"}
    assert transforms.root_of(bag.camera_frame) == "odom"
    assert transforms.root_of(bag.camera_frame, below={"odom"}) == "base_link"

    def x_at(parent: str, child: str, second: float) -> float | None:
        T = transforms.lookup(parent, child, round(second * 1e9))
        return None if T is None else float(T[0, 3])

    assert x_at("odom", "left_optical", 10) == 20.5
    assert x_at("odom", "left_optical", 10.25) == 21.0
    assert x_at("left_optical", "odom", 12) == -24.5
    assert x_at("base_link", "left_optical", 99) == 0.5
    assert [x_at("odom", "base_link", second) for second in (9.9, 12.1)] == [None, None]
    assert x_at("map", "base_link", 11) is None
    assert x_at("other", "other", 11) == 0.0


def test_a_bag_without_transforms_has_none(tmp_path: Path) -> None:
    assert Bag(record(tmp_path / "bag", images())).transforms() is None


def test_the_most_frequent_of_several_parents_is_used(caplog: pytest.LogCaptureFixture) -> None:
    T = np.eye(4)
    frequent = [RecordedTransform("odom", "base", T, k) for k in range(3)]
    transforms = BagTransforms([RecordedTransform("map", "base", T, None), *frequent])
    assert transforms.root_of("base") == "odom"
    assert "several parents of base (map, odom); odom is used" in caplog.text
