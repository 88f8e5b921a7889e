# SPDX-License-Identifier: Apache-2.0
"""Every setting is declared once, checked, explained and used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ttt3r_ros.config import Config, Setting, from_mapping, parameters_yaml, settings
from ttt3r_ros.errors import ConfigError

ROOT = Path(__file__).parents[3]
SETTINGS = {entry.name: entry for entry in settings()}


def test_no_values_give_the_defaults() -> None:
    assert from_mapping({}) == Config()


def test_an_unknown_setting_is_refused_by_name_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting voxel_size; known: .*map\.voxel_size"):
        from_mapping({"voxel_size": 0.1})


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("threads", "two", "int"),
        ("threads", 2.0, "int"),
        ("threads", True, "int"),
        ("publish_tf", 1, "bool"),
        ("publish_tf", "true", "bool"),
        ("device", 0, "str"),
        ("device", None, "str"),
        ("min_confidence", "3", "float"),
        ("map.voxel_size", True, "float"),
        ("map.max_voxels", [5000], "int"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(name: str, value: Any, kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"{re.escape(f'{name} is {value!r}')}; expected {kind}"):
        from_mapping({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", -1),
        ("threads", 257),
        ("reset_interval", -2),
        ("min_confidence", 0.99),
        ("min_confidence", float("nan")),
        ("map.voxel_size", 0.0),
        ("map.voxel_size", 10.1),
        ("map.voxel_size", -float("inf")),
        ("map.max_voxels", 999),
        ("path_max_poses", 0),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(name: str, value: float) -> None:
    low = SETTINGS[name].ge
    with pytest.raises(ConfigError, match=rf"{re.escape(f'{name} is {value}')}; expected {low} to "):
        from_mapping({name: value})


@pytest.mark.parametrize("entry", [e for e in settings() if e.ge is not None], ids=lambda e: e.name)
def test_the_ends_of_a_range_are_allowed(entry: Setting) -> None:
    for bound in (entry.ge, entry.le):
        if bound is not None:
            assert entry.checked(entry.kind(bound)) == bound


@pytest.mark.parametrize("entry", [e for e in settings() if e.choices], ids=lambda e: e.name)
def test_only_the_listed_words_are_allowed(entry: Setting) -> None:
    for word in entry.choices:
        assert entry.checked(word) == word
    with pytest.raises(
        ConfigError, match=f"{entry.name} is 'other'; expected one of {entry.choices[0]}, "
    ):
        entry.checked("other")


def test_an_unquoted_on_or_off_of_a_yaml_file_is_accepted() -> None:
    assert from_mapping({"encode_ahead": True}).encode_ahead == "on"
    assert from_mapping({"encode_ahead": False}).encode_ahead == "off"
    with pytest.raises(ConfigError, match="pose_source is True"):
        from_mapping({"pose_source": True})


def test_a_dotted_name_overrides_one_nested_setting_and_leaves_the_rest() -> None:
    base = from_mapping({"map.max_range": 3.0, "device": "cpu"})
    config = from_mapping({"map.voxel_size": 0.2}, base)
    assert (config.map.voxel_size, config.map.max_range, config.device) == (0.2, 3.0, "cpu")
    assert base.map.voxel_size == Config().map.voxel_size, "the base is a value"
    assert config.map.max_voxels == Config().map.max_voxels


def test_a_whole_number_may_stand_for_a_float() -> None:
    value = from_mapping({"map.max_range": 5}).map.max_range
    assert (value, type(value)) == (5.0, float)


@pytest.mark.parametrize("entry", list(settings()), ids=lambda e: e.name)
def test_a_setting_is_explained_and_its_default_is_allowed(entry: Setting) -> None:
    assert len(entry.help) > 10
    assert entry.help.endswith(".")
    assert entry.checked(entry.default) == entry.default


def test_every_setting_is_used_outside_its_declaration() -> None:
    sources = [p for p in (ROOT / "ttt3r_ros").rglob("*.py") if p != ROOT / "ttt3r_ros" / "config.py"]
    texts = [path.read_text(encoding="utf-8") for path in sources]
    assert len(texts) > 20
    unused = []
    for name in SETTINGS:
        *group, last = name.split(".")
        owner = rf"config\.{group[0]}" if group else "config"
        uses = [rf"\b{owner}\.{last}\b"]
        if group:  # a local name for the group, as in `config = self._config.map`
            uses.append(rf"(?s)\b\w*config\b[^\n=]* = [\w.]*{owner}\b(?!\.).*\b_?\w*config\.{last}\b")
            uses.append(
                rf"(?s)\b{group[0].capitalize()}Config\b.*\b_?config\.{last}\b"
            )  # passed on as a whole
        if not any(re.search(use, text) for use in uses for text in texts):
            unused.append(name)
    assert not unused


def flattened(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat.update(
            flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return flat


def test_the_parameter_file_parses_to_exactly_the_defaults() -> None:
    values = flattened(yaml.safe_load(parameters_yaml())["/**"]["ros__parameters"])
    values = {name: SETTINGS[name].checked(value) for name, value in values.items()}
    defaults = {entry.name: entry.default for entry in settings()}
    assert values == defaults
    assert {name: type(value) for name, value in values.items()} == {
        name: type(value) for name, value in defaults.items()
    }


def test_the_shipped_parameter_file_is_the_one_the_settings_make() -> None:
    assert (ROOT / "config" / "ttt3r.yaml").read_text(encoding="utf-8") == parameters_yaml()
