"""`wm evaluate control`: policies on the same seeded tasks of the embedded arm, in lock-step, and a report of how they did."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from wm_core import configuration
from wm_core.evaluation import control_page, trial_strip
from wm_core.evaluation.control import Summary, run
from wm_core.evaluation.control_config import ControlConfig
from wm_core.evaluation.control_policy import Informed, Planner, Policy, Random, Still, TrueDynamics, TrueWorld
from wm_core.evaluation.control_records import Place, TrialRecords
from wm_core.evaluation.control_task import task
from wm_core.evaluation.errors import EvaluationError
from wm_core.orphans import end_with_parent
from wm_core.planning.offline import step_of
from wm_core.planning.planner_config import PlannerConfig, search_of
from wm_core.planning.scores import Fidelity, Pass
from wm_core.planning.search import Search
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.robot_config import read_robot
from wm_core.simulation import arm
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig
from wm_core.vision.encoder import Encoder
from wm_core.vision.load import load_encoder
from wm_core.world_model.engine_config import EngineConfig
from wm_core.world_model.world_model import WorldModel

AS_TRAINED = "as_trained"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Setup:
    """What an evaluation is made from; `deterministic` is a model of the same encoder that was trained without shortcut forcing.

    `shipped` is the folder of the guard's and the robot's configuration.
    """

    config: ControlConfig
    planner: PlannerConfig
    arm: SimConfig
    shipped: Path
    encoder: str
    model: Path
    deterministic: Path | None
    out: Path

    @property
    def records(self) -> TrialRecords:
        return TrialRecords(self.out)

    def arm_of(self, scene: str) -> SimConfig:
        """The arm in the world of a shift, or as it was in training."""
        return self.arm if scene == AS_TRAINED else replace(self.arm, scene=self.config.shifts.scenes[scene])

    @property
    def engine(self) -> EngineConfig:
        """The planner's; processes that divide the trials have their hands full already."""
        engine = self.planner.engine
        return replace(engine, workers=0) if self.config.processes > 1 else engine


@dataclass(frozen=True)
class Job:
    """One task, and who is still to try it."""

    scene: str
    kind: str
    index: int
    policies: tuple[str, ...]


class Bench:
    """Encoder and models, loaded once in a process."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.encoder: Encoder = load_encoder(setup.encoder, torch.device("cpu"))
        self.model = WorldModel.open(setup.model, engine=setup.engine)
        self.step = checked(step_of(self.model), setup.config.tasks.rate)
        self._guard = configuration.read(GuardConfig, setup.shipped / "safety_guard.yaml")
        self._robot = read_robot(setup.shipped / "ur5e.yaml", arm.urdf())

    @cached_property
    def deterministic(self) -> WorldModel:
        if self.setup.deterministic is None:
            raise EvaluationError(
                "policy 'deterministic' has no model", got="none", mend="--deterministic DIR, or leave it out of policies"
            )
        return WorldModel.open(self.setup.deterministic, engine=self.setup.engine)

    def search(self, kind: str, true_dynamics: bool = False) -> Search:
        """The search for tasks of a kind, and its like over the simulator."""
        config = self.setup.config.planner_for(self.setup.planner, kind, true_dynamics)
        return search_of(config, self._guard, self._robot, self.step)

    def policy(self, name: str, kind: str, world: TrueWorld) -> Policy:
        """One of POLICIES, for tasks of a kind."""
        planner = self.setup.planner
        if name == "copy":
            return Still()
        if name == "truth":
            return TrueDynamics(self.model, self.encoder, self.search(kind, true_dynamics=True), planner.distance, world)
        search = self.search(kind)
        if name in ("random", "informed"):
            return Random(search) if name == "random" else Informed(search)
        model = self.deterministic if name == "deterministic" else self.model
        return Planner(model, self.encoder, search, fidelities(planner, model), planner.distance, planner.frames)


def evaluate_control(setup: Setup, say: Say) -> tuple[Summary, ...]:
    """Make the trials that are not there yet, and write control.json, control.md and pictures."""
    config, bench = setup.config, Bench(setup)
    told = settings(setup, bench)
    setup.records.begin(told)
    if setup.deterministic is None and "deterministic" in (*config.policies, *config.shifts.policies):
        say("no model that was trained without shortcut forcing was given: policy 'deterministic' is left out")
    waiting = list(jobs(setup))
    if config.processes > 1 and len(waiting) > 1:
        divide(setup, waiting, say)
    else:
        work(bench, waiting, say)
    return control_page.report(setup.records, control_page.Told(config.judge, bench.step, places(setup), sizes(setup)), told)


def settings(setup: Setup, bench: Bench) -> dict[str, object]:
    """Everything that a trial depends on."""
    config, planner = setup.config, asdict(setup.planner)
    planner["engine"] = setup.planner.engine.kind  # how many processes it takes changes nothing but time
    other = {"deterministic": bench.deterministic.hash} if setup.deterministic else {}
    tasks = {name: value for name, value in asdict(config.tasks).items() if name != "trials"}
    truth = {name: value for name, value in asdict(config.truth).items() if name != "trials"}
    scenes = {name: asdict(scene) for name, scene in config.shifts.scenes.items()}
    told = {
        "tasks": tasks,
        "judge": asdict(config.judge),
        "truth": truth,
        "rotation": config.rotation,
        "scenes": scenes,
    }
    return {**told, "planner": planner, "model": bench.model.hash, "encoder": bench.encoder.weight_hash, "arm": asdict(setup.arm), **other}


def sizes(setup: Setup) -> str:
    """How much is searched, for the page: who searches less is no upper bound for the other."""
    model, truth = ((one.samples, one.horizon, one.iterations) for one in (setup.planner.search, setup.config.truth))
    less = ", so that it is no upper bound" if any(few < many for few, many in zip(truth, model, strict=True)) else ""
    searched, also = (" x ".join(map(str, numbers)) for numbers in (model, truth))
    return f"The planner searches {searched} (samples, steps, iterations), the simulator is searched {also}{less}."


def places(setup: Setup) -> dict[Place, int]:
    """All trials that are asked for: how many of each."""
    config, truth = setup.config, setup.config.truth.trials
    asked: dict[Place, int] = {}
    scenes = [(AS_TRAINED, config.kinds, config.policies, config.tasks.trials)]
    scenes += [(name, config.shifts.kinds, config.shifts.policies, config.shifts.trials) for name in config.shifts.scenes]
    for scene, kinds, policies, trials in scenes:
        for kind in kinds:
            for policy in policies:
                if policy != "deterministic" or setup.deterministic:
                    asked[Place(scene, kind, policy)] = min(trials, truth) if policy == "truth" else trials
    return {place: count for place, count in asked.items() if count}


def jobs(setup: Setup) -> Iterator[Job]:
    """What is not there yet, round by round, so that a report halfway tells of everything a little."""
    asked = places(setup)
    rooms = dict.fromkeys((place.scene, place.kind) for place in asked)
    for index in range(max(asked.values(), default=0)):
        for scene, kind in rooms:
            here = [place for place, count in asked.items() if (place.scene, place.kind) == (scene, kind) and index < count]
            missing = tuple(place.policy for place in here if not setup.records.there(place, index))
            if missing:
                yield Job(scene, kind, index, missing)


def divide(setup: Setup, waiting: Sequence[Job], say: Say) -> None:
    """The jobs among processes; a fault in one is told when all have ended."""
    context, count = multiprocessing.get_context("spawn"), min(setup.config.processes, len(waiting))
    started = [context.Process(target=work_alone, args=(setup, waiting[place::count], say), daemon=True) for place in range(count)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    failed = [process.exitcode for process in started if process.exitcode]
    if failed:
        raise EvaluationError("a process of the evaluation ended early", got=f"exit status {failed}", mend="look at its message above")


def work_alone(setup: Setup, waiting: Sequence[Job], say: Say) -> None:
    """A share of the jobs, in a process of its own."""
    end_with_parent()
    torch.set_num_threads(1)
    work(Bench(setup), waiting, say)


def work(bench: Bench, waiting: Sequence[Job], say: Say) -> None:
    """Job by job; a trial is kept as soon as it is over."""
    setup, arms = bench.setup, dict[str, EmbeddedArm]()
    config, records = setup.config, setup.records
    for job in waiting:
        if job.scene not in arms:
            arms[job.scene] = EmbeddedArm(setup.arm_of(job.scene))
        world = arms[job.scene]
        asked = config.tasks.of(job.kind, config.tasks.trials)
        drawn = task(asked, world, job.index)
        keep = -(-round(config.judge.seconds / bench.step) // config.pictures) if config.pictures else 0
        for name in job.policies:
            place = Place(job.scene, job.kind, name)
            policy = bench.policy(name, job.kind, TrueWorld(world, asked.camera, asked.rate))
            trial = run(policy, world, drawn, asked, config.judge, bench.step, keep)
            if keep:
                trial_strip.write(records.path(place, job.index, "png"), trial, drawn.picture)
            records.save(place, trial)
            tool, turn, away = trial.errors[-1]
            ending = f"{100 * tool:.1f} cm, {turn:.2f} rad, object {100 * away:.1f} cm: {'success' if trial.success else 'no success'}"
            say(f"{job.scene}, {job.kind} {job.index + 1}, {name}: {ending}")


def fidelities(planner: PlannerConfig, model: WorldModel) -> dict[Pass, Fidelity]:
    """How carefully a model imagines; one without noise takes one step to wherever it goes."""
    if model.config.objective.kind != "deterministic":
        return planner.fidelities
    return {name: Fidelity(one.grid, 1, 1) for name, one in planner.fidelities.items()}


def checked(step: float, rate: float) -> float:
    """The step of a model (s), which must be a whole number of steps of control at this rate (Hz)."""
    if abs(step * rate - round(step * rate)) > 1e-6:
        allowed = f"a multiple of the model's {1.0 / step:g} Hz"
        raise EvaluationError("a step of the model is no whole number of steps of control", got=f"{rate:g} Hz", allowed=allowed)
    return step
