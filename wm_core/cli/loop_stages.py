"""The stages of `wm demo --loop`: measure, record in a changed scene through the real nodes, fine-tune, measure again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

from wm_core import configuration
from wm_core.cli.shipped import config_folder, model, shipped
from wm_core.cli.stage_record import Stage, StageRecord
from wm_core.data.collect import CollectConfig, CollectReport, collect
from wm_core.errors import WmError
from wm_core.evaluation import loop_report
from wm_core.evaluation.control import Summary
from wm_core.evaluation.control_config import ControlConfig
from wm_core.evaluation.evaluate_control import AS_TRAINED, Setup, evaluate_control
from wm_core.evaluation.finetune import OFFERED, WITHHELD, finetune
from wm_core.evaluation.finetune_config import FinetuneConfig, TuningSet
from wm_core.evaluation.loop_config import LoopConfig
from wm_core.evaluation.loop_report import Loop
from wm_core.planning.planner_config import PlannerConfig
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig

Say = Callable[[str], None]
CHANGED, PLANNER = "changed", "planner"


def record_motion(words: list[str]) -> int:
    """Its exit status. The nodes are ROS programs; this room knows no ROS, so `ros2 run` does it."""
    return subprocess.run(["ros2", "run", "wm_ros", "record_motion", *words], check=False).returncode


@dataclass(frozen=True)
class Jobs:
    """What takes long."""

    measure: Callable[[Setup, Say], object] = evaluate_control
    record: Callable[[list[str]], int] = record_motion
    collect: Callable[[CollectConfig, SimConfig, Path], CollectReport] = collect
    finetune: Callable[[Path, FinetuneConfig, Path, Path, Say], object] = finetune


def run(out: Path, config: LoopConfig, say: Say, jobs: Jobs = Jobs()) -> Loop:
    """The whole loop in `out`; what ended there before is not done again."""
    making = _Making(out.resolve(), config, say, jobs)
    seconds = StageRecord(making.out, say).run(making.stages())
    return making.report(seconds)


@dataclass(frozen=True)
class _Making:
    """What all stages know."""

    out: Path
    config: LoopConfig
    say: Say
    jobs: Jobs

    def __post_init__(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)

    def stages(self) -> list[Stage]:
        trials, scene = asdict(self.config.trials), asdict(self.config.scene)
        return [
            Stage("before", {**trials, "scene": scene}, lambda: self._measure("before", model("world_model"), ("reach",))),
            Stage("record", {**asdict(self.config.recording), "scene": scene}, self._record),
            Stage("old", asdict(self.config.old), self._collect),
            Stage("fine-tune", asdict(self._tuning()), self._finetune),
            Stage("after", {**trials, "scene": scene}, lambda: self._measure("after", self._tuned / "world_model", ())),
        ]

    def report(self, seconds: dict[str, float]) -> Loop:
        """From what the stages left behind."""
        before, after, tuned = self._summaries("before"), self._summaries("after"), self._tuned
        told = json.loads((tuned / "world_model" / "offer.json").read_text(encoding="utf-8"))
        recording = self.config.recording
        loop = Loop(
            trained=before[AS_TRAINED],
            changed=before[CHANGED],
            tuned=after[CHANGED],
            offer=str(told["reason"]),
            episodes=recording.episodes,
            seed=self.config.trials.seed,
            seconds=seconds,
            model=str(told["after"]),
        )
        views = {"as trained": EmbeddedArm(self._arm).render("front"), "changed": EmbeddedArm(self._changed).render("front")}
        for path in loop_report.write(loop, views, self.out):
            self.say(f"wrote {path}")
        return loop

    @property
    def _arm(self) -> SimConfig:
        return configuration.read(SimConfig, shipped("sim_arm.yaml"))

    @property
    def _changed(self) -> SimConfig:
        return replace(self._arm, scene=self.config.scene)

    @property
    def _tuned(self) -> Path:
        """The fine-tuned model, offered or not: the demonstration shows what it is worth in either case."""
        offered = self.out / "finetune" / OFFERED
        return offered if offered.is_dir() else self.out / "finetune" / WITHHELD

    def _measure(self, name: str, place: Path, kinds: tuple[str, ...]) -> None:
        """The tasks in the changed scene, and those of `kinds` as trained."""
        control, own = configuration.read(ControlConfig, shipped("control.yaml")), self.config.trials
        shifts = replace(control.shifts, kinds=("reach",), policies=(PLANNER,), trials=own.count, scenes={CHANGED: self.config.scene})
        config = replace(
            control,
            kinds=kinds,
            policies=(PLANNER,),
            tasks=replace(control.tasks, trials=own.count, seed=own.seed),
            judge=replace(control.judge, seconds=own.seconds),
            shifts=shifts,
            processes=own.processes,
        )
        planner = configuration.read(PlannerConfig, shipped("planner.yaml"))
        out, encoder = self.out / name, str(model("encoder"))
        self.jobs.measure(Setup(config, planner, self._arm, config_folder(), encoder, place, None, out), self.say)

    def _summaries(self, name: str) -> dict[str, Summary]:
        """By scene."""
        record = json.loads((self.out / name / "control.json").read_text(encoding="utf-8"))
        return {one["scene"]: Summary(**one) for one in record["summaries"]}

    def _record(self) -> None:
        """Through the real nodes, whose arm is in the changed scene."""
        files, own = self.out / "config", self.config.recording
        files.mkdir(exist_ok=True)
        told = yaml.safe_dump(json.loads(json.dumps(asdict(self._changed))), sort_keys=False)
        (files / "sim_arm.yaml").write_text(told, encoding="utf-8")
        settings = [f"recording.{name}={value}" for name, value in asdict(own).items()]
        words = ["--files", str(files), "--out", str(self.out / "recorded"), *settings]
        status = self.jobs.record(words)
        if status:
            mend = "look at the messages above; the same command goes on"
            raise WmError("not all episodes were recorded", got=f"exit status {status}", mend=mend)

    def _collect(self) -> None:
        if not (self.out / "old").exists():
            own = self.config.old
            config = replace(
                configuration.read(CollectConfig, shipped("collect.yaml")), episodes=own.episodes, frames=own.frames, seed=own.seed
            )
            self.say(self.jobs.collect(config, self._arm, self.out / "old").text())

    def _tuning(self) -> FinetuneConfig:
        config = configuration.read(FinetuneConfig, shipped("finetune.yaml"))
        description = str(shipped("datasets/embedded_arm.yaml"))
        new, old = (TuningSet(str(self.out / name), description) for name in ("recorded", "old"))
        data = replace(config.data, new=(new,), old=(old,), encoder=str(model("encoder")), cache=str(self.out / "tokens"))
        return replace(config, data=data)

    def _finetune(self) -> None:
        folder = shipped("finetune.yaml").parent
        self.jobs.finetune(model("world_model"), self._tuning(), folder, self.out / "finetune", self.say)
