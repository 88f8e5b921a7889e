# SPDX-License-Identifier: Apache-2.0
"""Merging of two parameter files."""

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
    assert base["costmap"]["plugins"] == ["static", "scan"], "the base is not changed"


def test_a_value_replaces_a_section_and_a_section_replaces_a_value():
    assert merge({"a": {"b": 1}, "c": 2}, {"a": 3, "c": {"d": 4}}) == {"a": 3, "c": {"d": 4}}


def test_the_text_has_no_aliases_even_if_a_file_has_them(tmp_path):
    (tmp_path / "base.yaml").write_text("one: &layer {topic: /scan}\ntwo: *layer\n")
    (tmp_path / "upper.yaml").write_text("three: {x: 1.0e-10}\n")
    text = overlay(tmp_path / "base.yaml", tmp_path / "upper.yaml")
    assert not set(text) & {"&", "*"}
    assert yaml.safe_load(text) == {
        "one": {"topic": "/scan"},
        "two": {"topic": "/scan"},
        "three": {"x": 1e-10},
    }


def test_the_error_on_a_file_without_a_mapping_contains_its_name_and_type(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match=r"list\.yaml .*\blist\b"):
        overlay(tmp_path / "list.yaml", tmp_path / "list.yaml")
