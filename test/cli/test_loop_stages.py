"""Protects the loop as a demonstration: what ended is not done again, other settings are refused, and a stage that failed is gone on with.

The long jobs are stand-ins here: they leave behind what the real ones would.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from wm_core import configuration
from wm_core.cli import loop_stages
from wm_core.cli.loop_stages import CHANGED, PLANNER, Jobs
from wm_core.cli.main import main
from wm_core.cli.shipped import model, shipped
from wm_core.data.collect import CollectConfig, CollectReport
from wm_core.errors import WmError
from wm_core.evaluation.control import Summary, wilson
from wm_core.evaluation.evaluate_control import AS_TRAINED, Setup
from wm_core.evaluation.finetune_config import FinetuneConfig
from wm_core.evaluation.loop_config import LoopConfig
from wm_core.evaluation.loop_report import Loop
from wm_core.simulation.sim_config import SimConfig

STAGES = ["before", "record", "old", "fine-tune", "after"]
CONFIG = configuration.read(LoopConfig, shipped("loop.yaml"))
SHARES = {AS_TRAINED: 40, CHANGED: 10}  # successes of the shipped model
TUNED = 35
SETTINGS = {
    "trials": replace(CONFIG, trials=replace(CONFIG.trials, seed=771)),
    "scene": replace(CONFIG, scene=replace(CONFIG.scene, light_intensity=1.0)),
    "recording": replace(CONFIG, recording=replace(CONFIG.recording, episodes=51)),
    "old": replace(CONFIG, old=replace(CONFIG.old, frames=41)),
}


class StandIns:
    """Note which stage asked, and fail in one of them; `verdict` is the folder that fine-tuning ends in."""

    def __init__(self, folder: Path, verdict: str = "offered") -> None:
        self.folder, self.verdict = folder, verdict
        self.asked, self.said, self.failing = list[str](), list[str](), ""
        self.setups: dict[str, Setup] = {}
        self.recorded_with: SimConfig | None = None
        self.tuned_with: FinetuneConfig | None = None

    def run(self, config: LoopConfig = CONFIG) -> Loop:
        return loop_stages.run(self.folder, config, self.said.append, Jobs(self._measure, self._record, self._collect, self._finetune))

    def _note(self, stage: str) -> bool:
        """Whether it is to fail."""
        self.asked.append(stage)
        return stage == self.failing

    def _measure(self, setup: Setup, say: loop_stages.Say) -> None:
        self.setups[setup.out.name] = setup
        if self._note(setup.out.name):
            raise KeyboardInterrupt
        scenes = [AS_TRAINED] * len(setup.config.kinds) + list(setup.config.shifts.scenes)
        shares = SHARES if setup.model == model("world_model") else {CHANGED: TUNED}
        count = setup.config.tasks.trials
        summaries = [
            Summary(PLANNER, "reach", count, shares[scene], *wilson(shares[scene], count), *[0.0] * 6, 0, 0, None, scene)
            for scene in scenes
        ]
        setup.out.mkdir()
        (setup.out / "control.json").write_text(json.dumps({"summaries": [asdict(one) for one in summaries]}))

    def _record(self, words: list[str]) -> int:
        self.recorded_with = configuration.read(SimConfig, Path(words[words.index("--files") + 1]) / "sim_arm.yaml")
        return int(self._note("record"))

    def _collect(self, config: CollectConfig, arm: SimConfig, out: Path) -> CollectReport:
        if self._note("old"):
            raise KeyboardInterrupt
        out.mkdir()
        return CollectReport(out, {"reach": config.episodes}, {"reach": 0})

    def _finetune(self, place: Path, config: FinetuneConfig, beside: Path, out: Path, say: loop_stages.Say) -> None:
        self.tuned_with = config
        if self._note("fine-tune"):
            raise WmError("the disk is full")
        made = out / self.verdict / "world_model"
        made.mkdir(parents=True)
        (made / "offer.json").write_text(json.dumps({"reason": f"{self.verdict}: as it happens", "after": "abcdef"}))


@pytest.fixture
def stand_ins(tmp_path: Path) -> StandIns:
    return StandIns(tmp_path / "loop")


def test_the_stages_hand_on_to_each_other_and_end_in_a_report(stand_ins: StandIns) -> None:
    loop = stand_ins.run()
    assert stand_ins.asked == STAGES
    assert [one.successes for one in loop.summaries] == [40, 10, TUNED]
    assert loop.recovered == pytest.approx(25 / 30)
    assert loop.offer == "offered: as it happens"
    assert list(loop.seconds) == STAGES
    assert stand_ins.recorded_with is not None
    assert stand_ins.recorded_with.scene == CONFIG.scene
    assert stand_ins.tuned_with is not None
    assert [Path(one.root).name for one in (*stand_ins.tuned_with.data.new, *stand_ins.tuned_with.data.old)] == ["recorded", "old"]
    assert stand_ins.setups["after"].model == stand_ins.folder / "finetune" / "offered" / "world_model"
    assert stand_ins.setups["before"].config.tasks == stand_ins.setups["after"].config.tasks, "the same tasks before and after"
    for name in ("loop.md", "loop.json", "loop.png"):
        assert (stand_ins.folder / name).is_file()


def test_a_model_that_was_withheld_is_measured_and_reported_too(tmp_path: Path) -> None:
    stand_ins = StandIns(tmp_path / "loop", "withheld")
    assert stand_ins.run().offer == "withheld: as it happens"
    assert stand_ins.setups["after"].model == stand_ins.folder / "finetune" / "withheld" / "world_model"


def test_what_ended_is_not_done_again(stand_ins: StandIns) -> None:
    assert stand_ins.run() == stand_ins.run()
    assert stand_ins.asked == STAGES


@pytest.mark.parametrize("failing", STAGES)
def test_a_stage_that_failed_is_gone_on_with(stand_ins: StandIns, failing: str) -> None:
    stand_ins.failing = failing
    with pytest.raises((WmError, KeyboardInterrupt)):
        stand_ins.run()
    stand_ins.failing = ""
    assert stand_ins.run().tuned.successes == TUNED
    again = STAGES.index(failing)
    assert stand_ins.asked == [*STAGES[: again + 1], *STAGES[again:]]


def test_a_fine_tuning_file_that_was_changed_after_it_began_is_refused(stand_ins: StandIns) -> None:
    stand_ins.run()
    record = stand_ins.folder / "stages.json"
    told = json.loads(record.read_text())
    told["fine-tune"]["settings"]["run"]["steps"] += 1
    record.write_text(json.dumps(told))
    with pytest.raises(WmError, match=r"'fine-tune' in .* was begun with other settings.*run\.steps"):
        stand_ins.run()


def test_episodes_that_were_not_all_recorded_are_told(stand_ins: StandIns) -> None:
    stand_ins.failing = "record"
    with pytest.raises(WmError, match=r"not all episodes were recorded; got: exit status 1; mend: .*the same command goes on"):
        stand_ins.run()


@pytest.mark.parametrize("changed", SETTINGS)
def test_other_settings_are_refused_before_anything_is_done(stand_ins: StandIns, changed: str) -> None:
    stand_ins.run()
    with pytest.raises(WmError, match=r"was begun with other settings.*give another --out"):
        stand_ins.run(SETTINGS[changed])
    assert stand_ins.asked == STAGES


@pytest.mark.parametrize(("successes", "status"), [(30, 0), (29, 1)])
def test_the_verb_ends_well_where_two_thirds_came_back(
    stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], successes: int, status: int
) -> None:
    asked = list[LoopConfig]()
    loop = stand_ins.run()
    told = replace(loop, tuned=replace(loop.tuned, successes=successes))

    def run(out: Path, config: LoopConfig, say: loop_stages.Say) -> Loop:
        asked.append(config)
        return told

    monkeypatch.setattr(loop_stages, "run", run)
    assert main(["demo", "--loop", "--out", str(stand_ins.folder), "--episodes", "12", "--trials", "2"]) == status
    assert (asked[0].recording.episodes, asked[0].trials.count) == (12, 2)
    assert f"the change cost 60 points of success; {100 * (successes - 10) / 30:.0f} % of them came back" in capsys.readouterr().out
