"""Protects that a training can stop anywhere: resumed it is the same bit for bit, and a kill, a full disk or a NaN costs no checkpoint."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_training import PROVENANCE, Synthetic, make_trainer, train_config

from wm_core.errors import CheckpointError, WmError
from wm_core.training import metrics_log
from wm_core.training.clips import measure
from wm_core.training.errors import DivergenceError, TrainingError
from wm_core.training.train_config import OptimiserConfig, SourceConfig, Stage
from wm_core.training.trainer import Trainer
from wm_core.world_model import checkpoint
from wm_core.world_model.checkpoint import Checkpoint

HERE = Path(__file__).resolve().parent


def same(one: Checkpoint, other: Checkpoint) -> None:
    for first, second in ((one.model, other.model), (one.ema, other.ema), (one.tensors["training_state"], other.tensors["training_state"])):
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert one.records == other.records


@pytest.mark.parametrize(("stopped", "kind"), [(3, "adamw"), (5, "adamw"), (4, "muon")])
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path, stopped: int, kind: str) -> None:
    stages = (Stage(0, (4, 8)), Stage(4, (8,), horizon=2, tau_min=0.2))
    optimiser = OptimiserConfig(kind=kind, learning_rate=3e-3, warmup_steps=2)
    config = train_config(steps=7, batch=3, global_batch=6, curriculum=stages, optimiser=optimiser)
    make_trainer(tmp_path / "whole", config).run(progress=False)
    make_trainer(tmp_path / "parts", config).run(until=stopped, progress=False)
    torch.manual_seed(999)  # whatever state the new process is in
    make_trainer(tmp_path / "parts", config, resume=True).run(progress=False)
    whole, parts = (checkpoint.load(tmp_path / name / "step_000000007") for name in ("whole", "parts"))
    same(whole, parts)
    assert metrics_log.read(tmp_path / "whole") == metrics_log.read(tmp_path / "parts")


def test_it_goes_on_learning_where_the_source_draws_from_the_global_generators(tmp_path: Path) -> None:
    class Drawing(Synthetic):
        def clips(self, number: int):  # type: ignore[no-untyped-def]
            clips = super().clips(number)
            clips.latents.add_(torch.randn(clips.latents.shape))
            return clips

    config = train_config(steps=4, checkpoint_every=2)
    statistics = make_trainer(tmp_path / "any", config).statistics
    for name, stops in (("whole", (4,)), ("parts", (2, 4))):
        for turn, stop in enumerate(stops):
            Trainer(config, Drawing(4), statistics, PROVENANCE, tmp_path / name, resume=turn > 0).run(until=stop, progress=False)
    same(*(checkpoint.load(tmp_path / name / "step_000000004") for name in ("whole", "parts")))


def test_metrics_of_steps_after_the_checkpoint_are_written_once(tmp_path: Path) -> None:
    config = train_config(steps=6, checkpoint_every=4)
    with pytest.raises(DivergenceError):
        make_trainer(tmp_path, config, poisoned=5).run(progress=False)
    with (tmp_path / metrics_log.FILE).open("a") as file:
        file.write('{"step": 6, "lo')  # a line that a kill cut short
    make_trainer(tmp_path, config, resume=True).run(progress=False)
    assert [line["step"] for line in metrics_log.read(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_nan_names_its_step_and_clips_and_leaves_weights_and_checkpoint_as_they_were(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, train_config(steps=8, checkpoint_every=2, curriculum=(Stage(0, (8,)),)), poisoned=5)
    with pytest.raises(DivergenceError, match=r"step 5.*synthetic 5\.1") as caught:
        trainer.run(progress=False)
    assert (caught.value.step, trainer.step) == (5, 5)
    assert all(torch.isfinite(parameter).all() for parameter in trainer.network.parameters())
    assert checkpoint.load(checkpoint.newest(tmp_path)).provenance.step == 4


def test_a_gradient_that_is_not_finite_is_refused_too(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, train_config())
    before = [parameter.detach().clone() for parameter in trainer.network.parameters()]
    trainer.network.head.out.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(DivergenceError, match=r"gradient norm (inf|nan)"):
        trainer.run(progress=False)
    assert all(torch.equal(one, other) for one, other in zip(before, trainer.network.parameters(), strict=True))


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    make_trainer(tmp_path, train_config(steps=5, checkpoint_every=1, keep=2)).run(progress=False)
    assert sorted(path.name for path in tmp_path.iterdir() if "step" in path.name) == ["step_000000004", "step_000000005"]


def test_a_directory_with_a_training_is_not_begun_anew_nor_resumed_as_another(tmp_path: Path) -> None:
    make_trainer(tmp_path, train_config(steps=1)).run(progress=False)
    with pytest.raises(TrainingError, match="--resume"):
        make_trainer(tmp_path, train_config(steps=1))
    with pytest.raises(TrainingError, match=r"optimiser\.learning_rate: 0\.1.*optimiser\.learning_rate: 0\.003"):
        make_trainer(tmp_path, train_config(steps=1, learning_rate=0.1), resume=True)
    with pytest.raises(TrainingError, match="curriculum"):
        make_trainer(tmp_path, train_config(steps=1, curriculum=(Stage(0, (8,)),)), resume=True)
    assert make_trainer(tmp_path, train_config(steps=3, keep=9), resume=True).run(progress=False)["loss"] > 0.0


def test_a_directory_whose_checkpoint_was_damaged_is_not_begun_anew(tmp_path: Path) -> None:
    make_trainer(tmp_path, train_config(steps=2, checkpoint_every=1)).run(progress=False)
    manifest, metrics = tmp_path / "step_000000001" / "checkpoint.json", metrics_log.read(tmp_path)
    manifest.write_text(manifest.read_text()[:20])
    for resume, mend in ((False, "--resume"), (True, "remove .*step_000000001")):
        with pytest.raises(WmError, match=mend):
            make_trainer(tmp_path, train_config(steps=2, keep=1), resume=resume).run(progress=False)
    assert metrics_log.read(tmp_path) == metrics
    assert (tmp_path / "step_000000002").is_dir()


def test_a_training_that_goes_on_for_another_number_of_steps_says_where_that_leads_the_learning_rate(tmp_path: Path) -> None:
    make_trainer(tmp_path / "falls", train_config(steps=4)).run(progress=False)
    assert make_trainer(tmp_path / "falls", train_config(steps=4), resume=True).notes == []
    (line,) = make_trainer(tmp_path / "falls", train_config(steps=9), resume=True).notes
    assert line.startswith("run.steps was 4 and is 9:")
    assert line.endswith("goes on at 0.00229 and not at 0.00015")
    make_trainer(tmp_path / "level", train_config(steps=1, final_fraction=1.0)).run(progress=False)
    assert make_trainer(tmp_path / "level", train_config(steps=2, final_fraction=1.0), resume=True).notes == []


def test_data_that_changed_are_refused_by_name_and_so_are_those_that_an_older_checkpoint_does_not_tell(tmp_path: Path) -> None:
    config = train_config(steps=1, sources=(SourceConfig("sets/arm", "arm.yaml", True), SourceConfig("sets/video", "video.yaml", False)))
    statistics = measure(Synthetic(4), 4)

    def trainer(folder: str, data: str, resume: bool) -> Trainer:
        return Trainer(config, Synthetic(4), statistics, replace(PROVENANCE, data_hash=data), tmp_path / folder, resume=resume)

    for folder, data in (("new", "aaaa-bbbb"), ("old", "0123456789abcdef")):
        trainer(folder, data, resume=False).run(progress=False)
    assert trainer("new", "aaaa-bbbb", resume=True).step == 1
    with pytest.raises(TrainingError, match=r"changed since: sets/video;.*--start"):
        trainer("new", "aaaa-cccc", resume=True)
    with pytest.raises(TrainingError, match=r"earlier version.*--start"):
        trainer("old", "aaaa-bbbb", resume=True)


def test_a_world_model_without_training_state_cannot_be_resumed(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "a", train_config(steps=1))
    trainer.run(progress=False)
    whole = checkpoint.load(tmp_path / "a" / "step_000000001")
    records = {"train_config": whole.records["train_config"]}
    checkpoint.save(
        tmp_path / "b", "bare", Checkpoint(whole.config, whole.model, whole.ema, whole.statistics, whole.provenance, {}, records)
    )
    with pytest.raises(CheckpointError, match="no state of a training"):
        make_trainer(tmp_path / "b", train_config(steps=1), resume=True)


def test_a_disk_that_takes_no_more_is_a_clear_error_and_costs_no_checkpoint(tmp_path: Path) -> None:
    """A limit on the size of files fails a write just as a full disk does: with an error from the operating system, halfway."""
    config = train_config(steps=2, checkpoint_every=1)
    trainer = make_trainer(tmp_path, config)
    trainer.run(until=1, progress=False)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, before[1]))
    try:
        with pytest.raises(CheckpointError, match="cannot be written"):
            trainer.run(progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list(tmp_path.glob(".step_*"))
    assert checkpoint.load(checkpoint.newest(tmp_path)).provenance.step == 1


def test_a_kill_at_any_moment_of_saving_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    """killed.py forks one training per moment; each kills itself there while it saves step 3 and forgets step 1."""
    done = subprocess.run([sys.executable, HERE / "killed.py", tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    folders = sorted(tmp_path.glob("kill_*"))
    steps = []
    for folder in folders:
        steps.append(checkpoint.load(checkpoint.newest(folder)).provenance.step)
    assert len(folders) > 8
    assert set(steps) == {2, 3}, "both before and after the new checkpoint is in place"
    for folder in (folders[0], folders[-1]):
        make_trainer(folder, train_config(steps=4, checkpoint_every=1, keep=2), resume=True).run(progress=False)
        assert checkpoint.load(checkpoint.newest(folder)).provenance.step == 4
        assert not list(folder.glob(".step_*"))
