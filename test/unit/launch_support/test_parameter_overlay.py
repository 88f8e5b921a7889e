# SPDX-License-Identifier: Apache-2.0
"""One parameter file laid over another."""

from __future__ import annotations

import pytest
import yaml

from ttt3r_ros.ros.launch_support.parameter_overlay import merge, overlay


def test_sections_merge_and_values_and_lists_are_replaced():
    base = {"costmap": {"plugins": ["static", "scan"], "width": 3}, "controller": {"rate": 20.0}}
    upper = {"costmap": {"plugins": ["camera"], "depth": {"topic": "/points"}}}
    assert merge(base, upper) == {
        "costmap": {"plugins": ["camera"], "width": 3, "depth": {"topic": "/points"}},
        "controller": {"rate": 20.0},
    }
    assert base["costmap"]["plugins"] == ["static", "scan"], "the lower one is not changed"


def test_a_value_takes_the_place_of_a_section_and_a_section_that_of_a_value():
    assert merge({"a": {"b": 1}, "c": 2}, {"a": 3, "c": {"d": 4}}) == {"a": 3, "c": {"d": 4}}


def test_what_is_written_has_no_aliases_even_where_the_file_had(tmp_path):
    (tmp_path / "base.yaml").write_text("one: &layer {topic: /scan}\ntwo: *layer\n")
    (tmp_path / "upper.yaml").write_text("three: {x: 1.0e-10}\n")
    text = overlay(tmp_path / "base.yaml", tmp_path / "upper.yaml")
    assert not set(text) & {"&", "*"}
    assert yaml.safe_load(text) == {
        "one": {"topic": "/scan"},
        "two": {"topic": "/scan"},
        "three": {"x": 1e-10},
    }


def test_a_file_that_holds_no_mapping_is_named(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match=r"list\.yaml holds list; expected a mapping"):
        overlay(tmp_path / "list.yaml", tmp_path / "list.yaml")
