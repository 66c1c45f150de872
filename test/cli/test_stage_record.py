"""Protects long commands that are killed: what ended is not done again, what did not is, and never with other settings."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from wm_core.cli.stage_record import FILE, Stage, StageRecord
from wm_core.errors import WmError


class Kitchen:
    """Stages that note that they were run; one of them may be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ran, self.said, self.killed = folder, list[str](), list[str](), ""

    def stage(self, name: str, **settings: object) -> Stage:
        def run() -> None:
            self.ran.append(name)
            if name == self.killed:
                raise KeyboardInterrupt

        return Stage(name, settings, run)

    def cook(self, *stages: Stage) -> dict[str, float]:
        ticks = count(0, 5)
        return StageRecord(self.folder, self.said.append, lambda: float(next(ticks))).run(list(stages))


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


def test_what_ended_is_not_done_again(kitchen: Kitchen) -> None:
    stages = kitchen.stage("boil", minutes=3), kitchen.stage("peel", knife={"sharp": True, "sizes": (1, 2)})
    assert kitchen.cook(*stages) == {"boil": 5.0, "peel": 5.0}
    assert kitchen.cook(*stages) == {"boil": 5.0, "peel": 5.0}
    assert kitchen.ran == ["boil", "peel"]
    assert sum("done before" in line for line in kitchen.said) == 2


def test_what_was_killed_is_done_again_and_what_came_after_it_too(kitchen: Kitchen) -> None:
    stages = [kitchen.stage(name) for name in ("wash", "boil", "peel")]
    kitchen.killed = "boil"
    with pytest.raises(KeyboardInterrupt):
        kitchen.cook(*stages)
    kitchen.killed = ""
    assert kitchen.cook(*stages) == {"wash": 5.0, "boil": 10.0, "peel": 5.0}, "the attempt that failed took its time too"
    assert kitchen.ran == ["wash", "boil", "boil", "peel"]


@pytest.mark.parametrize("killed", ["", "boil"])
def test_other_settings_are_refused_before_anything_runs_and_named(kitchen: Kitchen, killed: str) -> None:
    kitchen.killed = killed
    try:
        kitchen.cook(kitchen.stage("wash"), kitchen.stage("boil", pot={"litres": 2, "lid": True}))
    except KeyboardInterrupt:
        kitchen.ran.remove("boil")
    ran = list(kitchen.ran)
    with pytest.raises(WmError, match=r"boil.*got: pot\.litres: 3; allowed: pot\.litres: 2;"):
        kitchen.cook(kitchen.stage("weigh"), kitchen.stage("boil", pot={"litres": 3, "lid": True}))
    assert kitchen.ran == ran


def test_a_record_that_is_damaged_is_refused(kitchen: Kitchen, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"boil": ', encoding="utf-8")
    with pytest.raises(WmError, match=FILE):
        kitchen.cook(kitchen.stage("boil"))
    assert kitchen.ran == []
