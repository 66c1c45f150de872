"""Protects fine-tuning: it stops when it forgets, keeps what was best, goes on after a kill, and refuses what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from known_world import clips
from small_evaluation import CONFIG, Small, write_encoder
from small_tuning import EARLIER, Tuned, make_tuned

from wm_core.errors import CheckpointError, ConfigurationError
from wm_core.evaluation import finetune as finetuning
from wm_core.evaluation import finetune_sets, offer
from wm_core.evaluation.bootstrap import Estimate
from wm_core.evaluation.finetune import finetune, opened
from wm_core.training import trained_on
from wm_core.training.errors import TrainingError
from wm_core.training.forgetting import Measured, Watch
from wm_core.world_model import checkpoint
from wm_core.world_model.engine_config import EngineConfig
from wm_core.world_model.world_model import WorldModel


@pytest.fixture(scope="module")
def tuned(small: Small) -> Tuned:
    return make_tuned(small)


@pytest.fixture(scope="module")
def whole(tuned: Tuned) -> Path:
    """A fine-tuning that ended; nothing was known, so nothing is forgotten."""
    out = tuned.root / "whole"
    finetune(tuned.start, tuned.config(), tuned.root, out, lambda line: None)
    return out


@pytest.fixture(scope="module")
def learned(tuned: Tuned) -> Path:
    """A checkpoint that knows the moving square, and may be tuned as fast as the one that it was made of."""
    known = {"data__new": [tuned.set("held_out")], "data__reference": [tuned.set("backwards")]}
    fast = {"run__learning_rate_share": 0.05, "run__warmup_steps": 20, "run__steps": 40, "monitor__every": 40}
    train(tuned.start, tuned, tuned.root / "learned", **known, **fast)
    best = checkpoint.load(tuned.root / "learned" / finetuning.BEST / "step_000000040")
    told = checkpoint.load(tuned.start).records[finetune_sets.RECORD]
    return checkpoint.save(tuned.root / "learned", "known", replace(best, records=best.records | {finetune_sets.RECORD: told}))


def train(start: Path, tuned: Tuned, out: Path, say: Callable[[str], None] = lambda line: None, **changes: Any) -> Watch:
    return opened(start, tuned.config(**changes), tuned.root, out, say).train()


def test_what_is_offered_can_be_served_and_tells_its_reasons(whole: Path, tuned: Tuned) -> None:
    place = whole / finetuning.OFFERED / "world_model"
    told = json.loads((place / offer.FILE).read_text(encoding="utf-8"))
    before, after = checkpoint.load(tuned.start), checkpoint.load(place)
    assert told["offered"]
    assert told["new"]["ratio"]["high"] <= 1.0
    assert (told["before"], told["after"]) == (before.hashes["ema.safetensors"], after.hashes["ema.safetensors"])
    for name, part in before.statistics.items():
        torch.testing.assert_close(after.statistics[name].mean, part.mean)
    assert after.provenance.encoder_hash == before.provenance.encoder_hash
    seen = [(one.name, one.held_out) for one in trained_on.written(after)]
    assert seen == [(EARLIER.name, EARLIER.held_out), ("square", 0.4)], "what it began with and what it was tuned on"
    model = WorldModel.open(place, engine=EngineConfig("bytes", 0))
    assert model.calibration is not None
    assert (whole / finetuning.OFFERED / "encoder").is_dir()
    page = (whole / "finetune.md").read_text(encoding="utf-8")
    assert page.startswith("# Fine-tuning: offered")
    assert (whole / "finetune.png").is_file()


def test_it_stops_when_it_forgets_and_keeps_what_was_best_until_then(learned: Path, tuned: Tuned) -> None:
    """A training that is too violent, and the same again with a bound between two of its measurements."""
    start = learned
    violent = {"run__learning_rate_share": 0.1, "run__warmup_steps": 30}
    free = train(start, tuned, tuned.root / "free", **violent).measured
    assert free[1].new < free[0].new
    assert free[2].old > max(free[0].old, free[1].old)
    bound = (max(free[0].old, free[1].old) + free[2].old) / 2 / free[0].old
    held = train(start, tuned, tuned.root / "bounded", **violent, monitor__worsening=bound)
    assert held.measured == free[:3]
    assert held.stopped
    assert held.best == free[1]
    assert [path.name for path in (tuned.root / "bounded" / finetuning.BEST).iterdir()] == ["step_000000010"]
    assert train(start, tuned, tuned.root / "bounded", **violent, monitor__worsening=bound) == held, "given again"


def test_killed_anywhere_it_goes_on_to_the_same_weights(whole: Path, tuned: Tuned) -> None:
    class KilledError(Exception):
        pass

    def kill(line: str) -> None:
        if line.startswith("step 20"):
            raise KilledError

    out = tuned.root / "killed"
    with pytest.raises(KilledError):
        train(tuned.start, tuned, out, kill)
    train(tuned.start, tuned, out)
    ends = [checkpoint.load(folder / finetuning.BEST / "step_000000030").hashes["ema.safetensors"] for folder in (whole, out)]
    assert ends[0] == ends[1]


def test_a_training_that_only_forgets_gives_nothing(learned: Path, tuned: Tuned) -> None:
    config = tuned.config(run__learning_rate_share=1.0, run__warmup_steps=20, run__steps=10, monitor__worsening=1.5)
    out = tuned.root / "broken"
    with pytest.raises(TrainingError, match="no checkpoint is better"):
        finetune(learned, config, tuned.root, out, lambda line: None)
    assert not (out / finetuning.OFFERED).exists()


def test_one_that_is_worse_on_old_clips_than_allowed_is_withheld_with_the_reason(whole: Path, tuned: Tuned) -> None:
    out = tuned.root / "withheld"
    made = finetune(tuned.start, tuned.config(offer__old_at_most=0.01, run__steps=10), tuned.root, out, lambda line: None)
    assert not made.offered
    assert "not worse on old" in made.reason
    assert (out / finetuning.WITHHELD / "world_model" / offer.FILE).is_file()
    assert not (out / finetuning.OFFERED).exists()


def test_pictures_and_learning_rate_are_those_of_the_checkpoints_own_training(tuned: Tuned) -> None:
    start = checkpoint.load(tuned.start)
    told = start.records[finetune_sets.RECORD]
    own = {"height": 40, "width": 56, "fit": "crop"}
    told = told | {"data": told["data"] | {"preprocessing": own}, "optimiser": told["optimiser"] | {"learning_rate": 4e-4}}
    config = tuned.config(run__learning_rate_share=0.25)
    made = finetune_sets.train_config(config, replace(start, records=start.records | {finetune_sets.RECORD: told}))
    assert asdict(made.data.preprocessing) == own
    assert made.optimiser.learning_rate == pytest.approx(1e-4)
    judged = finetune_sets.evaluations(config, made.data.preprocessing)
    assert {one.data.preprocessing for sets in judged.values() for one in sets} == {made.data.preprocessing}
    with pytest.raises(ConfigurationError, match="learning_rate_share"):
        tuned.config(run__learning_rate_share=1.1)


def test_the_shipped_model_is_tuned_at_the_rate_that_the_shipped_file_names() -> None:
    told = (CONFIG / "finetune.yaml").read_text(encoding="utf-8")
    record = json.loads((CONFIG.parent / "models" / "embedded" / "world_model" / "train_config.json").read_text(encoding="utf-8"))
    assert f"for the shipped model is {record['optimiser']['learning_rate']:g}" in told


def test_what_does_not_fit_is_refused_before_anything_is_written(tuned: Tuned, whole: Path) -> None:
    out = tuned.root / "refused"
    write_encoder(tuned.root / "other_encoder", seed=5)
    with pytest.raises(CheckpointError, match="another encoder"):
        finetune(tuned.start, tuned.config(data__encoder="other_encoder"), tuned.root, out, lambda line: None)
    with pytest.raises(CheckpointError, match="how it was trained"):
        finetune(tuned.root / "checkpoints" / "untuned", tuned.config(), tuned.root, out, lambda line: None)
    assert not out.exists()
    with pytest.raises(ConfigurationError, match="would forget"):
        tuned.config(data__reference=[])
    with pytest.raises(ConfigurationError, match="disagree"):
        tuned.config(data__old_share=0.5)
    with pytest.raises(TrainingError, match="another bound"):
        finetune(tuned.start, tuned.config(monitor__worsening=2.0), tuned.root, whole, lambda line: None)


def test_the_best_is_the_one_that_errs_least_on_new_clips_among_those_that_do_not_forget() -> None:
    watch = Watch("a", 1.2, tuple(Measured(*one) for one in ((0, 1.0, 0.1), (5, 0.5, 0.11), (10, 0.6, 0.1), (15, 0.2, 0.13))))
    assert watch.best.step == 5
    assert watch.stopped
    assert Watch("a", 1.2, watch.measured[:3]).stopped is False
    assert watch.and_then(Measured(20, 0.1, float("nan"))).best.step == 5
    assert watch.and_then(Measured(20, 0.1, float("nan"))).stopped


@pytest.mark.parametrize(
    ("new", "old", "offered"),
    [
        ((0.4, 0.6), (0.9, 1.05), True),
        ((0.4, 1.01), (0.9, 1.05), False),
        ((0.4, 0.6), (1.0, 1.11), False),
        ((0.4, float("nan")), (1.0, 1.0), False),
    ],
)
def test_the_end_of_the_interval_that_speaks_against_the_new_model_decides(
    new: tuple[float, float], old: tuple[float, float], offered: bool
) -> None:
    decided = offer.rules(Estimate(0.5, *new), Estimate(1.0, *old), 1.0, 1.1)
    assert all(rule.passed for rule in decided) is offered
    assert offer.reason(decided).startswith("offered" if offered else "withheld")


def test_clips_of_several_sets_keep_their_own_latents() -> None:
    one, other = clips(6, 5, per_episode=2), clips(4, 3, seed=1)
    both = finetune_sets.joined([one, other])
    assert torch.equal(both.latents, torch.cat([one.until(3).latents, other.latents]))
    assert len(set(both.episodes.tolist())) == 7
