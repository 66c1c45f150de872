"""Protects the evaluation of control: each trial is made once and reported, a killed one goes on, and no other one's are mixed in."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_evaluation import DIM, write_encoder

from wm_core import configuration
from wm_core.evaluation import evaluate_control
from wm_core.evaluation.control import Trial
from wm_core.evaluation.control_config import ControlConfig
from wm_core.evaluation.control_records import Place, TrialRecords
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.evaluate_control import Job, Setup, jobs, places
from wm_core.planning.planner_config import PlannerConfig
from wm_core.simulation.sim_config import SimConfig
from wm_core.training.overrides import overridden
from wm_core.vision.encoder import FrozenEncoder
from wm_core.world_model.checkpoint import Checkpoint, Provenance, save
from wm_core.world_model.model_config import ModelConfig, ObjectiveConfig, WorldModelConfig
from wm_core.world_model.normalisation import Statistics
from wm_core.world_model.transformer import Transformer

CONFIG = Path(__file__).resolve().parents[2] / "config"
SMALL = [
    "tasks.trials=2",
    "kinds=[reach]",
    "policies=[copy, informed, planner]",
    "truth.trials=1",
    "judge.seconds=0.8",
    "judge.last=1",
    "tasks.speed=1.0",
]
SMALL += ["shifts.trials=1", "shifts.policies=[copy]", "pictures=2"]
SEARCH = ["search.samples=4", "search.elites=2", "search.iterations=1", "search.horizon=1", "frames=2", "engine.kind=torch"]
LIGHT = {"light": {"light_intensity": 0.2}}


def checkpoint(folder: Path, encoder: FrozenEncoder, name: str = "model", kind: str = "shortcut") -> Path:
    """Of random weights, five frames a second."""
    torch.manual_seed(1)
    model = ModelConfig(DIM, (encoder.grid,), 16, 2, 2, 2, 1, 24, 1, 50.0, 8, 16, 7, 8)
    weights = Transformer(model).state_dict()
    units = {"latents": Statistics(torch.zeros(DIM), torch.ones(DIM)), "actions": Statistics(torch.zeros(7), torch.ones(7))}
    config = WorldModelConfig(model, ObjectiveConfig(kind, 1 if kind == "deterministic" else 4, 0.0))
    records = {"train_config": {"data": {"clip": {"fps": 5.0}}}}
    return save(folder, name, Checkpoint(config, weights, weights, units, Provenance(encoder.name, encoder.weight_hash), records=records))


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    folder = tmp_path_factory.mktemp("control")
    encoder = write_encoder(folder / "encoder")
    shipped = yaml.safe_load((CONFIG / "control.yaml").read_text(encoding="utf-8"))
    shipped["shifts"]["scenes"] = LIGHT
    config = configuration.build(ControlConfig, shipped, "test")
    arm = replace(configuration.read(SimConfig, CONFIG / "sim_arm.yaml"), width=32, height=32)
    planner = overridden(configuration.read(PlannerConfig, CONFIG / "planner.yaml"), SEARCH)
    model = checkpoint(folder, encoder)
    return Setup(overridden(config, SMALL), planner, arm, CONFIG, str(folder / "encoder"), model, None, folder / "out")


@pytest.fixture(scope="module")
def done(setup: Setup) -> list[str]:
    said: list[str] = []
    evaluate_control.evaluate_control(setup, said.append)
    return said


@pytest.mark.usefixtures("done")
def test_every_trial_is_made_and_reported(setup: Setup) -> None:
    told = json.loads((setup.out / "control.json").read_text(encoding="utf-8"))
    trials = {(one["scene"], one["kind"], one["policy"]): one["trials"] for one in told["summaries"]}
    here = evaluate_control.AS_TRAINED
    assert trials == {
        (here, "reach", "copy"): 2,
        (here, "reach", "informed"): 2,
        (here, "reach", "planner"): 2,
        ("light", "reach", "copy"): 1,
    }
    for one in told["summaries"]:
        assert 0.0 <= one["low"] <= one["successes"] / one["trials"] <= one["high"] <= 1.0
        assert one["plans"] == 4 * one["trials"]
    page = (setup.out / "control.md").read_text(encoding="utf-8")
    for name in ("success.png", "errors_light_reach.png", f"trials/{here}/reach/planner/0001.png"):
        assert name in page
        assert (setup.out / name).read_bytes().startswith(b"\x89PNG")


def test_what_is_there_is_not_made_again_and_what_is_missing_is(setup: Setup, done: list[str]) -> None:
    lost = setup.records.path(Place(evaluate_control.AS_TRAINED, "reach", "planner"), 1)
    before = json.loads(lost.read_text(encoding="utf-8"))
    lost.unlink()
    said: list[str] = []
    evaluate_control.evaluate_control(setup, said.append)
    assert [line for line in said if "reach" in line] == [line for line in done if "reach 2, planner" in line]
    again = json.loads(lost.read_text(encoding="utf-8"))
    assert (again["errors"], again["path"]) == (before["errors"], before["path"])
    assert not list(jobs(setup))


@pytest.mark.usefixtures("done")
def test_trials_of_another_evaluation_are_not_mixed_in(setup: Setup) -> None:
    for config in (["tasks.seed=1"], ["judge.tolerance=0.5"]):
        with pytest.raises(EvaluationError, match=r"another evaluation.*(tasks|judge).*--out"):
            evaluate_control.evaluate_control(replace(setup, config=overridden(setup.config, config)), print)
    with pytest.raises(EvaluationError, match=r"another evaluation.*planner"):
        evaluate_control.evaluate_control(replace(setup, planner=overridden(setup.planner, ["search.samples=5"])), print)


def test_who_is_tried_on_what(setup: Setup) -> None:
    config = overridden(setup.config, ["kinds=[reach, push]", "policies=[truth, deterministic, random]", "tasks.trials=5"])
    here = evaluate_control.AS_TRAINED
    asked = places(replace(setup, config=config))
    assert {place.policy for place in asked} == {"truth", "random", "copy"}  # nobody gave a deterministic model
    assert (asked[Place(here, "push", "truth")], asked[Place(here, "push", "random")], asked[Place("light", "reach", "copy")]) == (1, 5, 1)
    order = [(job.index, job.kind) for job in jobs(replace(setup, config=config, out=setup.out / "none")) if job.scene == here]
    assert order == [(index, kind) for index in range(5) for kind in ("reach", "push")]
    with_one = places(replace(setup, config=config, deterministic=setup.model))
    assert with_one[Place(here, "reach", "deterministic")] == 5


@pytest.mark.usefixtures("done")
def test_a_fault_in_one_process_is_told_and_what_others_made_stays(setup: Setup, tmp_path: Path) -> None:
    config = overridden(setup.config, ["processes=2", "pictures=0"])
    asked, here = replace(setup, config=config, out=tmp_path), evaluate_control.AS_TRAINED
    with pytest.raises(EvaluationError, match="ended early"):
        evaluate_control.divide(asked, [Job(here, "reach", 0, ("copy",)), Job("no such scene", "reach", 0, ("copy",))], print)
    place = Place(here, "reach", "copy")
    (alone,), (same, _) = asked.records.load(place, 2), setup.records.load(place, 2)
    np.testing.assert_array_equal(alone.errors, same.errors)


def test_a_model_without_noise_takes_one_step_and_one_seed(setup: Setup) -> None:
    folder = Path(setup.encoder).parent
    bench = evaluate_control.Bench(replace(setup, deterministic=setup.model))
    assert evaluate_control.fidelities(setup.planner, bench.model) == setup.planner.fidelities
    plain = checkpoint(folder / "other", bench.encoder, "plain", "deterministic")
    other = evaluate_control.Bench(replace(setup, deterministic=plain)).deterministic
    assert {(one.steps, one.seeds) for one in evaluate_control.fidelities(setup.planner, other).values()} == {(1, 1)}
    with pytest.raises(EvaluationError, match="--deterministic"):
        _ = evaluate_control.Bench(setup).deterministic


def test_turning_is_searched_for_where_goals_ask_for_it(setup: Setup) -> None:
    planner, config = setup.planner, setup.config
    assert config.planner_for(planner, "reach") == planner
    assert config.planner_for(planner, "turn").search.rotation == config.rotation > 0.0
    truth = config.planner_for(planner, "reach", true_dynamics=True).search
    assert asdict(truth) | {"keep": 0, "review": 0} != asdict(planner.search) | {"keep": 0, "review": 0}
    assert (truth.samples, truth.horizon, truth.iterations) == (config.truth.samples, config.truth.horizon, config.truth.iterations)


def test_a_rate_that_a_step_of_the_model_is_no_multiple_of_is_refused() -> None:
    assert evaluate_control.checked(0.2, 10.0) == 0.2
    with pytest.raises(EvaluationError, match="no whole number"):
        evaluate_control.checked(0.2, 8.0)


def test_a_trial_is_read_as_it_was_written(setup: Setup) -> None:
    records, place = TrialRecords(setup.out / "other"), Place("a", "reach", "b")
    draw = np.random.default_rng(0)
    trial = Trial(3, True, draw.random((4, 3)).round(6), draw.random((5, 3)).round(6), np.array([0.1, 0.2]), 1, latency=np.array([0.3]))
    records.save(place, trial)
    assert records.load(place, 3) == []
    (again,) = records.load(place, 4)
    for name in ("errors", "path", "planning", "latency"):
        np.testing.assert_array_equal(getattr(again, name), getattr(trial, name))
    assert (again.index, again.success, again.missed) == (3, True, 1)
