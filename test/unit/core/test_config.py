# SPDX-License-Identifier: Apache-2.0
"""Declaration, validation, description and use of settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ttt3r_ros.config import Config, from_mapping, parameters_yaml, settings
from ttt3r_ros.errors import ConfigError

ROOT = Path(__file__).parents[3]
SETTINGS = {entry.name: entry for entry in settings()}


def test_without_values_the_configuration_has_all_defaults() -> None:
    assert from_mapping({}) == Config()


def test_the_error_on_an_unknown_setting_contains_its_name_and_all_known_names() -> None:
    with pytest.raises(ConfigError, match=r" voxel_size\b.* map\.voxel_size\b"):
        from_mapping({"voxel_size": 0.1})


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("threads", "two", "int"),
        ("threads", 2.5, "int"),
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
def test_the_error_on_a_wrong_type_contains_name_value_and_type(
    name: str, value: Any, kind: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(name)} .*{re.escape(repr(value))}.*\b{kind}$"):
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
def test_the_error_on_a_value_out_of_range_contains_name_value_and_range(
    name: str, value: float
) -> None:
    low, high = SETTINGS[name].ge, SETTINGS[name].le
    with pytest.raises(ConfigError, match=rf"^{re.escape(name)} .*{value}.* {low} to {high}$"):
        from_mapping({name: value})


def test_both_ends_of_every_range_are_valid() -> None:
    ranged = [entry for entry in settings() if entry.ge is not None and entry.le is not None]
    ends = [(entry, bound) for entry in ranged for bound in (entry.kind(entry.ge), entry.kind(entry.le))]
    assert len(ranged) > 20
    assert [(entry.name, bound) for entry, bound in ends if entry.validate(bound) != bound] == []


def test_choices_alone_are_valid_in_any_case_of_letters() -> None:
    limited = [entry for entry in settings() if entry.choices]
    pairs = [(entry, word) for entry in limited for word in entry.choices]
    assert len(limited) > 10
    for entry, word in pairs:
        assert (entry.name, entry.validate(word.upper()), entry.validate(word)) == (
            entry.name,
            word,
            word,
        )
    for entry in limited:
        with pytest.raises(ConfigError, match=f"{entry.name} .*'other'.*{', '.join(entry.choices)}"):
            entry.validate("other")


def test_an_unquoted_on_or_off_of_a_yaml_file_is_accepted() -> None:
    assert from_mapping({"encode_ahead": True}).encode_ahead == "on"
    assert from_mapping({"encode_ahead": False}).encode_ahead == "off"
    with pytest.raises(ConfigError, match=r"pose_source .*True"):
        from_mapping({"pose_source": True})


def test_a_dotted_name_overrides_one_nested_setting_and_leaves_the_rest() -> None:
    base = from_mapping({"map.max_range": 3.0, "device": "cpu"})
    config = from_mapping({"map.voxel_size": 0.2}, base)
    assert (config.map.voxel_size, config.map.max_range, config.device) == (0.2, 3.0, "cpu")
    assert base.map.voxel_size == Config().map.voxel_size, "the base is a value"
    assert config.map.max_voxels == Config().map.max_voxels


def test_an_integer_is_converted_to_a_float() -> None:
    value = from_mapping({"map.max_range": 5}).map.max_range
    assert (value, type(value)) == (5.0, float)


def test_a_whole_number_is_converted_to_an_integer() -> None:
    value = from_mapping({"map.max_voxels": 5000.0}).map.max_voxels
    assert (value, type(value)) == (5000, int)


@pytest.mark.parametrize("empty", [[], (), [""], "", None, b""])
def test_every_form_of_an_empty_list_names_no_cameras(empty: Any) -> None:
    assert from_mapping({"cameras": empty}, from_mapping({"cameras": ["left"]})).cameras == ()


@pytest.mark.parametrize(
    "value", [10**400, 2**63, float("inf"), float("nan"), "9" * 5000, [[[1]]], {1: 2}]
)
@pytest.mark.parametrize("name", ["threads", "map.voxel_size", "device", "cameras", "publish_tf"])
def test_a_value_of_any_size_is_refused_in_one_short_line(name: str, value: Any) -> None:
    if (name, value) == ("device", "9" * 5000):
        return  # a text
    with pytest.raises(ConfigError) as caught:
        from_mapping({name: value})
    assert str(caught.value).startswith(name)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("voxel_size", "map.voxel_size"),
        ("map.voxelsize", "map.voxel_size"),
        ("mapping.voxel_size", "map.voxel_size"),
        ("grid.voxel_size", "map.voxel_size"),
        ("camera", "cameras"),
        ("tf-mode", "tf_mode"),
        ("image_transports", "image_transport"),
        ("scale_source", "scale.source"),
    ],
)
def test_an_unknown_setting_has_a_suggestion(wrong: str, meant: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"{re.escape(wrong)} \(did you mean .*\b{re.escape(meant)}\b"
    ):
        from_mapping({wrong: 1})


def test_every_help_text_is_a_sentence_that_names_all_choices() -> None:
    offenders = [
        entry.name
        for entry in settings()
        if not re.fullmatch(r"[A-Z0-9].{9,}\.", entry.help)
        or not set(entry.choices) <= set(re.findall(r"\w+", entry.help))
    ]
    assert offenders == []


def test_every_default_is_valid() -> None:
    assert [entry.name for entry in settings() if entry.validate(entry.default) != entry.default] == []


@pytest.mark.parametrize(
    ("name", "limits"),
    [("threads", "0 to 256"), ("map.voxel_size", "0.001 to 10"), ("map.max_voxels", "1000 to 5e7")],
)
def test_the_description_contains_help_and_range(name: str, limits: str) -> None:
    assert SETTINGS[name].description == f"{SETTINGS[name].help} Range {limits}."
    assert SETTINGS["map_frame"].description == SETTINGS["map_frame"].help


def test_every_setting_is_used_outside_its_declaration() -> None:
    sources = [p for p in (ROOT / "ttt3r_ros").rglob("*.py") if p != ROOT / "ttt3r_ros" / "config.py"]
    texts = [path.read_text(encoding="utf-8") for path in sources]
    assert len(texts) > 20
    unused = []
    for name in SETTINGS:
        *group, last = name.split(".")
        owner = rf"config\.{group[0]}" if group else "config"
        uses = [rf"\b_?{owner}\.{last}\b"]
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
    values = {name: SETTINGS[name].validate(value) for name, value in values.items()}
    defaults = {entry.name: entry.default for entry in settings()}
    assert values == defaults
    assert {name: type(value) for name, value in values.items()} == {
        name: type(value) for name, value in defaults.items()
    }


def test_the_parameter_file_of_the_package_is_up_to_date() -> None:
    assert (ROOT / "config" / "ttt3r.yaml").read_text(encoding="utf-8") == parameters_yaml()
