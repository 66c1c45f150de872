"""Protects the numbers of the recorder's core: those of its messages, by name."""

from __future__ import annotations

from enum import IntEnum

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from wm_core.data.recorder import Code
from wm_core.data.recorder_condition import Level, State
from wm_core.data.recorder_words import Command
from wm_ros.msg import RecorderStatus
from wm_ros.srv import RecordEpisode


@pytest.mark.parametrize(("ours", "theirs"), [(Code, RecordEpisode.Response), (Command, RecordEpisode.Request), (State, RecorderStatus)])
def test_they_are_those_of_the_messages(ours: type[IntEnum], theirs: type) -> None:
    assert {one.name: one.value for one in ours} == {one.name: getattr(theirs, one.name) for one in ours}


def test_levels_are_those_of_diagnostics() -> None:
    assert [bytes([one]) for one in Level] == [DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR]
