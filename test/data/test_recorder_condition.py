"""Protects what a recorder says of itself: no trouble is told as rest or work, each with where to mend it, and none outlasts itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import contract, write_journal

from wm_core.data import journal
from wm_core.data.journal import CAPTURING, EXPORTED, FAILED, FINISHED, States
from wm_core.data.recorder import Code, Recorder, Wish
from wm_core.data.recorder_condition import Condition, Known, Level, State, condition

ROOT = Path("/data/set.journal")
FULL, DEAD = "too little room beside /data/set; got: 1 MB", "the exporter ended with status 1: see exporter.log"


def folders(*numbers: int) -> list[Path]:
    return [ROOT / f"{number:06d}" for number in numbers]


@pytest.mark.parametrize(
    ("known", "state", "level"),
    [
        (Known(-1, {}), State.IDLE, Level.OK),
        (Known(-1, {EXPORTED: folders(0, 1)}), State.IDLE, Level.OK),
        (Known(-1, {FINISHED: folders(1)}), State.EXPORTING, Level.OK),
        (Known(2, {FINISHED: folders(1), CAPTURING: folders(2)}), State.RECORDING, Level.OK),
        (Known(-1, {FINISHED: folders(1)}, room=FULL), State.FAULT, Level.ERROR),
        (Known(-1, {FINISHED: folders(1)}, exporter=DEAD), State.FAULT, Level.WARN),
        (Known(-1, {FINISHED: folders(1), FAILED: folders(0)}), State.FAULT, Level.WARN),
        (Known(-1, {CAPTURING: folders(2)}), State.FAULT, Level.WARN),
        (Known(2, {CAPTURING: folders(2)}, exporter=DEAD), State.RECORDING, Level.WARN),
        (Known(2, {CAPTURING: folders(1, 2)}), State.RECORDING, Level.WARN),
    ],
)
def test_each_state(known: Known, state: State, level: Level) -> None:
    how = condition(known)
    assert (how.state, how.level) == (state, level)
    assert bool(how.troubles) == (level != Level.OK)


def test_every_trouble_is_named_with_where_to_mend_it() -> None:
    how = condition(Known(7, {FAILED: folders(3, 12), CAPTURING: folders(5, 7)}, FULL, DEAD))
    assert how.troubles[:2] == (FULL, DEAD)
    unfinished, failed = how.troubles[2:]
    assert unfinished.startswith("episode 5 could not be ended")
    assert "start the recorder again" in unfinished
    assert failed.startswith("episodes 3, 12 could not be exported")
    assert f"{ROOT}/exporter.log" in failed
    assert f"remove {ROOT}/000003" in failed


NUMBERS = st.lists(st.integers(0, 9), unique=True, max_size=3).map(lambda numbers: folders(*numbers))
JOURNALS = st.dictionaries(st.sampled_from([CAPTURING, FINISHED, EXPORTED, FAILED, ""]), NUMBERS)


@given(capturing=st.integers(-1, 9), journals=JOURNALS, room=st.sampled_from(["", FULL]), exporter=st.sampled_from(["", DEAD]))
def test_it_is_at_fault_exactly_while_it_is_troubled_and_captures_nothing(
    capturing: int, journals: dict[str, list[Path]], room: str, exporter: str
) -> None:
    how = condition(Known(capturing, journals, room, exporter))
    assert (how.state == State.FAULT) == (bool(how.troubles) and capturing < 0)
    assert (how.level == Level.ERROR) == bool(room)
    assert (how.level == Level.OK) == (not how.troubles)


def of_disk(root: Path) -> Condition:
    return condition(Known(-1, States(root).folders()))


def test_a_journal_that_failed_is_a_fault_until_its_folder_is_removed(tmp_path: Path) -> None:
    failed = replace(write_journal(tmp_path, 4, [], contract(), finish=False), state=FAILED)
    failed.save()
    assert of_disk(tmp_path).state == State.FAULT
    for file in failed.folder.iterdir():
        file.unlink()
    failed.folder.rmdir()
    assert of_disk(tmp_path).state == State.IDLE


def test_the_disk_refuses_for_as_long_as_it_has_no_room(tmp_path: Path) -> None:
    room = [1e12]
    recorder = Recorder(tmp_path / "set", contract(), free=lambda path: room[0])
    assert recorder.refusal() == ""
    room[0] = 1e6
    assert "too little room" in recorder.refusal()
    room[0] = 1e12
    assert recorder.refusal() == ""
    recorder.close()


def test_a_folder_that_is_gone_or_may_only_be_read_is_a_refusal_and_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path / "set", contract())
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda path, mode: False)
        assert "nothing can be written in" in recorder.refusal()
    root = journal.root_of(tmp_path / "set")
    root.rename(tmp_path / "elsewhere")
    assert "nothing can be written in" in recorder.refusal()
    assert recorder.start(Wish(), [], lambda: pytest.fail("not asked for")).code == Code.DISK
    recorder.close()
