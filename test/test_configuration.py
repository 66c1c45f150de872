"""Protects the configuration loader: what is wrong in a YAML file is refused by name, with what is allowed and where to mend it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_core.configuration import build, flatten, read, replace_flat, setting
from wm_core.errors import ConfigurationError


@dataclasses.dataclass(frozen=True)
class Speed:
    linear: float = setting("largest speed", unit="m/s", low=0.0, high=2.0, live=True)
    steps: int = setting("steps", low=1, high=5)


@dataclasses.dataclass(frozen=True)
class Sphere:
    radius: float = setting("radius", unit="m", low=0.0)


@dataclasses.dataclass(frozen=True)
class Example:
    speed: Speed
    kind: str = setting("kind", choices=("round", "square"))
    point: tuple[float, float, float] = setting("point", unit="m")
    on: bool = setting("whether")
    wall: float | None = setting("wall", unit="m", default=None)
    keep_out: tuple[Sphere, ...] = setting("spheres", default=())
    per_joint: dict[str, float] = setting("limits", low=0.0, default={})


GOOD = {"speed": {"linear": 0.25, "steps": 3}, "kind": "round", "point": [0, 1.5, 2], "on": True}


def refused(changes: dict, *words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(Example, {**GOOD, **changes}, "example.yaml")
    for word in (*words, "example.yaml"):
        assert word in str(caught.value)


def test_a_valid_mapping_becomes_the_dataclass_with_numbers_as_floats() -> None:
    config = build(Example, {**GOOD, "wall": 0, "keep_out": [{"radius": 1}], "per_joint": {"a": 2}}, "example.yaml")
    assert config == Example(Speed(0.25, 3), "round", (0.0, 1.5, 2.0), True, 0.0, (Sphere(1.0),), {"a": 2.0})
    assert isinstance(config.point[0], float)
    assert isinstance(config.wall, float)


def test_a_wall_at_zero_is_not_no_wall() -> None:
    assert build(Example, {**GOOD, "wall": 0.0}, "example.yaml").wall == 0.0
    assert build(Example, GOOD, "example.yaml").wall is None


def test_an_unknown_key_is_refused_and_the_nearest_named() -> None:
    refused({"speed": {"linaer": 0.1, "steps": 1}}, "speed.linaer", "nearest: linear")
    refused({"kindd": "round"}, "kindd", "nearest: kind")


def test_a_missing_key_says_what_belongs_there() -> None:
    refused({"speed": {"linear": 0.1}}, "missing key 'speed.steps'", "1 .. 5")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"speed": {"linear": -0.1, "steps": 1}}, ("speed.linear", "-0.1", "0 .. 2 m/s")),
        ({"speed": {"linear": float("nan"), "steps": 1}}, ("speed.linear", "nan", "finite")),
        ({"speed": {"linear": "fast", "steps": 1}}, ("speed.linear", "'fast'", "float")),
        ({"speed": {"linear": True, "steps": 1}}, ("speed.linear", "bool")),
        ({"speed": {"linear": 1, "steps": 1.5}}, ("speed.steps", "1.5", "int")),
        ({"speed": 3}, ("speed", "a mapping")),
        ({"kind": "rond"}, ("kind", "rond", "round | square", "nearest: round")),
        ({"point": [1, 2]}, ("point", "a list of 3")),
        ({"point": [1, 2, float("inf")]}, ("point[2]", "inf")),
        ({"on": 1}, ("on", "bool")),
        ({"keep_out": [{"radius": -1}]}, ("keep_out[0].radius", "-1")),
        ({"per_joint": {"elbow": -2}}, ("per_joint.elbow", "-2")),
    ],
)
def test_a_bad_value_is_refused_by_path_with_what_is_allowed(changes: dict, words: tuple[str, ...]) -> None:
    refused(changes, *words)


@given(st.floats())
def test_exactly_the_finite_numbers_of_the_closed_range_pass(value: float) -> None:
    mapping = {**GOOD, "speed": {"linear": value, "steps": 1}}
    if math.isfinite(value) and 0.0 <= value <= 2.0:
        assert build(Example, mapping, "example.yaml").speed.linear == value
    else:
        with pytest.raises(ConfigurationError):
            build(Example, mapping, "example.yaml")


def test_flat_names_reach_scalars_and_can_be_replaced_with_the_same_checks() -> None:
    config = build(Example, GOOD, "example.yaml")
    assert flatten(config)["speed.linear"][0] == 0.25
    assert "keep_out" not in flatten(build(Example, {**GOOD, "keep_out": [{"radius": 1}]}, "x"))
    changed = replace_flat(config, {"speed.linear": 0.5, "kind": "square"}, "the parameters")
    assert (changed.speed.linear, changed.kind, changed.speed.steps) == (0.5, "square", 3)
    with pytest.raises(ConfigurationError, match=r"speed\.linear.*5\.0.*0 \.\. 2"):
        replace_flat(config, {"speed.linear": 5.0}, "the parameters")
    with pytest.raises(ConfigurationError, match=r"speed\.liner.*nearest: speed\.linear"):
        replace_flat(config, {"speed.liner": 0.5}, "the parameters")


def test_lists_and_dicts_of_settings_are_replaced_whole_and_checked_inside() -> None:
    config = build(Example, GOOD, "example.yaml")
    changed = replace_flat(config, {"keep_out": [{"radius": 2}], "per_joint": {"a": 1}, "wall": None}, "the command line")
    assert (changed.keep_out, changed.per_joint, changed.wall) == ((Sphere(2.0),), {"a": 1.0}, None)
    with pytest.raises(ConfigurationError, match=r"keep_out\[0\]\.radius.*-1"):
        replace_flat(config, {"keep_out": [{"radius": -1}]}, "the command line")


def test_files_that_are_missing_broken_or_empty_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(Example, tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("speed: [1,\nkind: {", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="not valid YAML"):
        read(Example, broken)
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="holds no keys"):
        read(Example, empty)
