"""Protects what `ros2 param describe` shows: the sentence, unit and range of a setting are those of the configuration class."""

from __future__ import annotations

import array

import pytest

from wm_core.configuration import Setting, flatten, read
from wm_core.robot.guard_config import GuardConfig
from wm_ros.parameters import descriptor, plain


def test_a_number_has_its_sentence_unit_and_range() -> None:
    described = descriptor(Setting("largest speed", unit="m/s", low=0.0, high=2.0), 0.25)
    assert described.description == "largest speed [m/s]"
    assert described.additional_constraints == "0 .. 2"
    (bounds,) = described.floating_point_range
    assert (bounds.from_value, bounds.to_value) == (0.0, 2.0)


def test_a_whole_number_and_an_open_end() -> None:
    described = descriptor(Setting("ticks", low=1), 5)
    (bounds,) = described.integer_range
    assert bounds.from_value == 1
    assert bounds.to_value > 10**15


@pytest.mark.parametrize("value", [True, "word", [1.0, 2.0]])
def test_what_has_no_range_in_ros_gets_none(value: object) -> None:
    described = descriptor(Setting("x", low=0.0, high=1.0), value)
    assert not described.floating_point_range
    assert not described.integer_range


def test_arrays_become_lists_and_words_stay_words() -> None:
    assert plain(array.array("d", [1.0, 2.0])) == [1.0, 2.0]
    assert plain("speed") == "speed"
    assert plain(0.5) == 0.5


def test_every_setting_of_the_guard_can_be_described(pytestconfig: pytest.Config) -> None:
    for name, (value, setting) in flatten(read(GuardConfig, pytestconfig.rootpath / "config" / "safety_guard.yaml")).items():
        described = descriptor(setting, list(value) if isinstance(value, tuple) else value)
        assert described.description, name
        assert isinstance(value, (str, tuple, bool)) or described.floating_point_range or described.integer_range, name
