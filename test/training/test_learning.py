"""Protects that training teaches: the losses fall, for each objective and with the rollout loss, and what is reported is what was seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import MODEL, OBJECTIVE, Synthetic, make_trainer, train_config

from wm_core.training import dry_run, metrics_log
from wm_core.training.clips import measure, normalised
from wm_core.training.rollout_loss import Ahead, rollout_loss
from wm_core.training.train_config import Stage
from wm_core.world_model.model_config import WorldModelConfig
from wm_core.world_model.transformer import Transformer, parameters


@pytest.mark.parametrize(("kind", "horizon"), [("shortcut", 0), ("deterministic", 0), ("shortcut", 2)])
def test_the_latent_error_falls(tmp_path: Path, kind: str, horizon: int) -> None:
    objective = dataclasses.replace(OBJECTIVE, kind=kind, action_dropout=0.0)
    config = train_config(objective=objective, steps=75, log_every=25, checkpoint_every=75, batch=8, global_batch=8)
    config = dataclasses.replace(config, curriculum=(Stage(0, (8,), horizon=horizon),))
    make_trainer(tmp_path, config).run(progress=False)
    first, _, last = metrics_log.read(tmp_path)
    assert last["error/inference/flow/labelled"] < 0.8 * first["error/inference/flow/labelled"]
    assert ("rollout_loss" in last) == (horizon > 0)
    assert (tmp_path / "tensorboard").is_dir()


def test_flow_and_bootstrap_labelled_and_unlabelled_are_told_apart(tmp_path: Path) -> None:
    make_trainer(tmp_path, train_config(steps=12, log_every=3, checkpoint_every=12)).run(progress=False)
    before, *after = metrics_log.read(tmp_path)
    assert not [name for name in before if "bootstrap" in name], "the bootstrap starts at step 3"
    seen = {name for line in after for name in line}
    assert {
        f"error/{p}/{b}/{k}" for p in ("forcing", "inference") for b in ("flow", "bootstrap") for k in ("labelled", "unlabelled")
    } <= seen


def test_the_rollout_loss_leaves_the_imagining_network_alone_and_reaches_the_student() -> None:
    torch.manual_seed(0)
    student, teacher = Transformer(MODEL), Transformer(MODEL).requires_grad_(False)
    clips = Synthetic(3).clips(0)
    latents, conditioning = normalised(clips, measure(Synthetic(3), 2), 0)
    generator = torch.Generator().manual_seed(1)
    loss = rollout_loss(student, teacher, latents, conditioning, Ahead(3, (4,)), WorldModelConfig(MODEL, OBJECTIVE), generator)
    loss.backward()
    assert student.head.out.weight.grad is not None
    assert student.head.out.weight.grad.abs().sum() > 0.0
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_every_batch_of_the_rollout_loss_is_imagined_with_one_of_the_numbers_of_steps() -> None:
    torch.manual_seed(0)
    student, teacher = Transformer(MODEL), Transformer(MODEL).requires_grad_(False)
    for network in (student, teacher):
        torch.nn.init.normal_(network.head.out.weight, std=0.1)  # a fresh head says nothing of what it was shown
    latents, conditioning = normalised(Synthetic(3).clips(0), measure(Synthetic(3), 2), 0)

    def loss(steps: tuple[int, ...], seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        return rollout_loss(student, teacher, latents, conditioning, Ahead(3, steps), WorldModelConfig(MODEL, OBJECTIVE), generator).item()

    with torch.no_grad():
        losses = [(loss((1, 4), seed), loss((1,), seed), loss((4,), seed)) for seed in range(12)]
    assert all(either in (one, four) and one != four for either, one, four in losses)
    assert {either == one for either, one, _ in losses} == {True, False}


def test_a_dry_run_measures_parameters_memory_and_time_and_writes_nothing(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "dry", train_config(steps=100))
    cost = dry_run.measure(trainer, steps=2)
    assert cost.parameters == parameters(trainer.network)
    assert cost.weight_bytes == 5 * 4 * cost.parameters
    assert cost.seconds_per_step > 0.0
    assert cost.clips == (4, 8, 4, 4)
    assert not (tmp_path / "dry").exists()


def test_a_dry_run_tells_the_memory_of_one_batch_the_costliest_there_is(tmp_path: Path) -> None:
    def kept(**changes: Any) -> int:
        return dry_run.measure(make_trainer(tmp_path / "dry", train_config(**changes)), steps=1).activation_bytes

    costliest = {"objective": dataclasses.replace(OBJECTIVE, inference_fraction=1.0), "curriculum": (Stage(0, (8,)),)}
    one = kept(**costliest, model=dataclasses.replace(MODEL, grids=((2, 2),)))
    assert {kept(seed=seed) for seed in range(4)} == {one}, "whatever grid, length and pattern the first steps draw"
    assert kept(global_batch=16) == one, "the memory of one batch is free again when the next one comes"
    assert kept(batch=8, global_batch=8) == pytest.approx(2 * one, rel=0.05)
