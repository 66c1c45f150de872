"""Protects `wm evaluate`: it reads what was held out and nothing else, writes bands and verdict beside the weights, says no to noise."""

from __future__ import annotations

import dataclasses
import json
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_evaluation import EPISODES, ROWS, Small, episode, write_dataset, write_encoder

from wm_core import configuration
from wm_core.data import metadata
from wm_core.data.split import held_out
from wm_core.errors import CheckpointError, ConfigurationError
from wm_core.evaluation.errors import EvaluationError
from wm_core.evaluation.evaluate import evaluate
from wm_core.evaluation.evaluate_config import EvaluateConfig, EvaluationData, SetConfig
from wm_core.evaluation.held_out import HeldOut, Request
from wm_core.evaluation.imagined import Draw, measure, recorded
from wm_core.evaluation.kept import keep
from wm_core.evaluation.results import Evaluation
from wm_core.evaluation.sets import model_of, open_set
from wm_core.world_model import checkpoint as checkpoints
from wm_core.world_model.world_model import WorldModel


@pytest.fixture(scope="module")
def checkpoint(small: Small) -> Path:
    return small.checkpoint("random")


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def evaluation(small: Small, checkpoint: Path, said: list[str]) -> Evaluation:
    return evaluate(checkpoint, small.config, [], small.root / "out", said.append)


def clips_of(small: Small, request: Request, **one: object) -> HeldOut:
    source = SetConfig("held_out", "square.yaml", **one)  # type: ignore[arg-type]
    data = EvaluationData(source, "encoder", "tokens")
    return open_set(data, source, small.root, small.encoder, lambda _: None, lambda _: None).clips(request, lambda _: None)


def test_clips_hold_what_was_recorded_where_they_say(small: Small) -> None:
    clips = clips_of(small, Request(20, 6, 4, 10.0, 0))
    assert clips.latents.shape[:2] == (20, 10)
    for latents, actions, number, rows in zip(clips.latents, clips.actions, clips.episodes, clips.rows, strict=True):
        assert np.array_equal(rows, np.arange(rows[0], rows[0] + 10))
        own = episode(int(number))
        pictures = torch.from_numpy(own.images["observation.images.front"][rows].transpose(0, 3, 1, 2).copy())
        expected = small.encoder(pictures).patches
        assert (latents - expected).abs().mean() < 0.1 * expected.std()  # video and 8 bits lose a little
        assert np.allclose(actions[:-1], own.columns["action"][rows[:-1]], atol=1e-6)


def test_clips_hold_no_latents_and_give_those_of_any_part_of_them(small: Small) -> None:
    """However many there are, they do not fill the memory."""
    clips = clips_of(small, Request(20, 6, 4, 10.0, 0))
    held = sum(value.nbytes for value in vars(clips).values() if isinstance(value, torch.Tensor | np.ndarray))
    assert held < clips.latents.nbytes
    assert torch.equal(clips.part(np.array([7, 3])).until(2).latents, clips.latents[[7, 3], :8])


def test_every_episode_gives_a_clip_before_one_gives_two(small: Small) -> None:
    clips = clips_of(small, Request(EPISODES + 3, 6, 4, 10.0, 0))
    assert len(set(clips.episodes[:EPISODES].tolist())) == EPISODES
    assert len({(int(e), int(r[0])) for e, r in zip(clips.episodes, clips.rows, strict=True)}) == EPISODES + 3


def test_where_episodes_are_short_the_horizon_is_what_fits(small: Small) -> None:
    assert clips_of(small, Request(4, 6, 500, 10.0, 0)).horizon == ROWS - 6
    with pytest.raises(EvaluationError, match="no clip to evaluate"):
        clips_of(small, Request(4, ROWS, 5, 10.0, 0))


def test_of_a_training_set_only_what_training_kept_back_is_used(small: Small) -> None:
    clips = clips_of(small, Request(500, 6, 4, 10.0, 0), held_out=0.3, seed=5)
    assert set(clips.episodes.tolist()) == set(np.flatnonzero(held_out("square", EPISODES, 0.3, 5)).tolist())


def test_random_weights_may_not_be_planned_with(evaluation: Evaluation, said: list[str]) -> None:
    assert not evaluation.verdict.may_plan
    failed = {rule.name for rule in evaluation.verdict.rules if not rule.passed}
    assert {"one_step", "five_steps", "action_gain", "calibration_clips", "plan_rank"} <= failed
    assert "may not be planned with" in said[-1]


def test_the_report_holds_what_was_found(evaluation: Evaluation, small: Small) -> None:
    record = json.loads((small.root / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert record["labelled"]["ratio"][0]["value"] == evaluation.labelled.ratio[0].value
    assert len(record["labelled"]["ratio"]) == ROWS - 6
    assert record["shortened"] == [
        {"dataset": "square", "measured": "latent error", "asked": 20, "reached": ROWS - 6, "rows_needed": 26, "rows": ROWS}
    ]
    assert [row["steps"] for row in record["sampling"]["rows"]] == [1, 4, 16]
    assert {rule["name"]: rule["on"].partition(";")[0] for rule in record["verdict"]["rules"]} == {
        "one_step": "8 clips of 8 episodes, 1 ahead",
        "five_steps": "8 clips of 8 episodes, 5 ahead",
        "ten_steps": "8 clips of 8 episodes, 10 ahead",
        "action_gain": "8 clips of 8 episodes, 1 to 3 ahead",
        "deviation": "8 clips of 8 episodes, 1 to 3 ahead",
        "four_steps": "4 clips of 4 episodes, 1 to 2 ahead",
        "coverage": "20 clips of 7 episodes, 1 to 4 ahead",
        "calibration_clips": "",
        "plan_rank": "",
    }
    assert (small.root / "out" / "evaluation.md").is_file()


def test_a_shifted_set_that_is_not_there_is_named(evaluation: Evaluation, said: list[str]) -> None:
    assert evaluation.calibration is not None
    assert [coverage.name for coverage in evaluation.calibration.shifted] == ["light"]
    assert any("no shifted set camera" in line for line in said)


def test_bands_and_their_test_rest_on_as_many_clips_as_were_asked_for(evaluation: Evaluation) -> None:
    found = evaluation.calibration
    assert found is not None
    assert (found.calibration.clips, found.test.clips) == (20, 20)
    assert found.calibration.episodes + found.test.episodes == EPISODES, "no episode is in both halves"


def test_bands_and_verdict_lie_beside_the_weights_they_are_about(evaluation: Evaluation, checkpoint: Path) -> None:
    model = WorldModel.open(checkpoint)
    assert evaluation.calibration is not None
    assert model.calibration == evaluation.calibration.calibration
    record = json.loads((checkpoint / "verdict.json").read_text(encoding="utf-8"))
    assert (record["may_plan"], record["weights"]) == (False, model.hash)


def test_the_bands_of_other_weights_are_refused(evaluation: Evaluation, checkpoint: Path, small: Small) -> None:
    other = small.checkpoint("other_weights")
    changed = (checkpoint / "calibration.json").read_text(encoding="utf-8").replace(evaluation.weights, "0" * 64)
    (other / "calibration.json").write_text(changed, encoding="utf-8")
    with pytest.raises(CheckpointError, match="other weights"):
        WorldModel.open(other)


def test_the_same_weights_get_the_same_numbers_again_and_as_their_own_baseline(
    evaluation: Evaluation, small: Small, checkpoint: Path
) -> None:
    again = evaluate(checkpoint, small.config, [f"baseline={checkpoint}"], small.root / "again", lambda _: None)
    assert (again.labelled, again.actions, again.calibration) == (evaluation.labelled, evaluation.actions, evaluation.calibration)
    assert evaluation.baseline is None
    assert again.baseline == again.labelled


def test_what_is_named_and_not_there_is_told_before_anything_is_measured(small: Small, checkpoint: Path) -> None:
    said: list[str] = []
    wrong = ["baseline=no/such", "data.labelled.root=nowhere"]
    with pytest.raises(EvaluationError, match=r"data.labelled.root: .*nowhere; baseline: .*no/such"):
        evaluate(checkpoint, small.config, wrong, small.root / "never", said.append)
    assert not said
    assert not (small.root / "never").exists()


def test_a_disk_that_fills_leaves_the_earlier_bands_with_the_earlier_verdict(evaluation: Evaluation, small: Small) -> None:
    """The limit on the size of files lets the bands through and the verdict, which is larger, not."""
    place = small.checkpoint("no_room")
    keep(place, evaluation)
    earlier = {path.name: path.read_bytes() for path in place.iterdir()}
    assert evaluation.calibration is not None
    bands = dataclasses.replace(evaluation.calibration.calibration, coverage=0.5)
    later = dataclasses.replace(evaluation, calibration=dataclasses.replace(evaluation.calibration, calibration=bands))
    room = len(earlier["calibration.json"]) + 50
    assert room < len(earlier["verdict.json"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            keep(place, later)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == earlier
    keep(place, later)
    assert json.loads((place / "calibration.json").read_text(encoding="utf-8"))["coverage"] == 0.5


def test_an_episode_that_cannot_be_read_is_counted_once(small: Small, tmp_path: Path) -> None:
    """It is met when latents are made, and again whenever clips are drawn. It is the episodes of a file that are lost."""
    root = tmp_path / "held_out"
    write_dataset(root, range(EPISODES), file_size=0.01)
    meta = metadata.load(root)
    video = meta.video_file_of(0, "observation.images.front")
    lost = {episode for episode in range(len(meta)) if meta.video_file_of(episode, "observation.images.front") == video}
    description = yaml.safe_load((small.root / "evaluate.yaml").read_text(encoding="utf-8"))
    description["data"] |= {"encoder": str(small.root / "encoder"), "cache": "tokens", "shifted": {}}
    description["data"]["labelled"] |= {"root": str(root), "description": str(small.root / "square.yaml")}
    (tmp_path / "evaluate.yaml").write_text(yaml.safe_dump(description), encoding="utf-8")
    assert 0 < len(lost) < EPISODES / 2
    video.unlink()
    lines: list[str] = []
    found = evaluate(small.checkpoint("lost_video"), tmp_path / "evaluate.yaml", [], tmp_path / "out", lines.append)
    assert len(found.skipped) == len(lost)
    assert sum("cannot be opened" in line for line in lines) == len(lost)
    assert f"{len(lost)} episodes could not be read" in (tmp_path / "out" / "evaluation.md").read_text(encoding="utf-8")


def test_a_teacher_forced_model_is_measured_with_the_one_step_that_it_learned(small: Small, tmp_path: Path) -> None:
    found = evaluate(small.checkpoint("teacher_forced", kind="deterministic"), small.config, [], tmp_path, lambda _: None)
    assert [row.steps for row in found.sampling.rows] == [1]
    assert set(found.sampling.rows[0].spread) == {0.0}
    assert found.calibration is not None
    assert (found.labelled.steps, found.calibration.calibration.steps) == (1, 1)
    assert next(rule.value for rule in found.verdict.rules if rule.name == "four_steps") is None
    assert "| 1 |" in (tmp_path / "evaluation.md").read_text(encoding="utf-8")


def test_four_steps_that_are_held_against_no_more_of_them_are_not_measured(small: Small, tmp_path: Path) -> None:
    found = evaluate(small.checkpoint("four"), small.config, ["sampling.steps=[1, 4]"], tmp_path, lambda _: None)
    assert [row.steps for row in found.sampling.rows] == [1, 4]
    rule = next(rule for rule in found.verdict.rules if rule.name == "four_steps")
    assert (rule.value, rule.passed) == (None, False)
    assert "four_steps was not measured" in found.verdict.text()


def test_models_compute_in_the_numbers_and_where_the_configuration_says(
    small: Small, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, loaded = clips_of(small, Request(4, 6, 2, 10.0, 0)), checkpoints.load(checkpoint)
    config = configuration.read(EvaluateConfig, small.config)
    models = [model_of(dataclasses.replace(config, device="cpu", precision=precision), loaded) for precision in ("fp32", "bf16")]
    exact, coarse = (measure(model, clips, recorded(clips), Draw(2, 4, (2, 2))).model for model in models)
    assert not np.array_equal(exact, coarse)
    np.testing.assert_allclose(exact, coarse, rtol=0.2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigurationError, match="no GPU"):
        evaluate(checkpoint, small.config, ["device=cuda"], tmp_path, lambda _: None)


def test_another_encoder_is_refused(small: Small, tmp_path: Path) -> None:
    other = small.checkpoint("other_encoder", write_encoder(tmp_path / "other", seed=9))
    with pytest.raises(CheckpointError, match="another encoder"):
        evaluate(other, small.config, [], tmp_path, lambda _: None)


def test_the_rate_of_clips_is_that_of_training_or_has_to_be_given(small: Small, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="at what rate"):
        evaluate(small.checkpoint("no_rate"), small.config, ["data.fps=0.0"], tmp_path, lambda _: None)
    trained = checkpoints.load(small.checkpoint("to_train"))
    record = {"train_config": {"data": {"clip": {"fps": 5.0}}}}
    place = checkpoints.save(tmp_path, "trained", dataclasses.replace(trained, records=record))
    found = evaluate(place, small.config, ["data.fps=0.0"], tmp_path / "out", lambda _: None)
    assert len(found.labelled.ratio) == ROWS // 2 - 6


def test_weights_that_are_not_numbers_are_refused(small: Small, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="not finite"):
        evaluate(small.checkpoint("poisoned", poison=True), small.config, [], tmp_path, lambda _: None)
    assert not (small.root / "checkpoints" / "poisoned" / "verdict.json").exists()


def test_too_few_clips_for_bands_are_a_no_and_no_crash(small: Small, tmp_path: Path) -> None:
    lines: list[str] = []
    few = [
        "calibration.horizon=10",
        "calibration.coverage=0.99",
        *(f"bars.{name}=10.0" for name in ("one_step", "five_steps", "ten_steps")),
    ]
    found = evaluate(small.checkpoint("few"), small.config, few, tmp_path, lines.append)
    assert found.calibration is None
    assert {"coverage", "calibration_clips"} <= {rule.name for rule in found.verdict.rules if rule.value is None}
    assert any("too few" in line for line in lines)
