"""Protects what a training is told to do: its configuration and overrides, its schedules and stages, and which weights decay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import MODEL, OBJECTIVE, Synthetic, train_config
from torch import nn

from wm_core import configuration
from wm_core.errors import ConfigurationError
from wm_core.training import optimiser
from wm_core.training import train_config as configured
from wm_core.training.clips import measure, normalised
from wm_core.training.errors import TrainingError
from wm_core.training.overrides import overridden
from wm_core.training.schedule import generator_of, learning_rate, seed_everything, stage_at, world_model_at
from wm_core.training.train_config import OptimiserConfig, Stage
from wm_core.world_model.transformer import Transformer

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "train_embedded.yaml"


def test_the_learning_rate_rises_then_falls_to_its_final_fraction() -> None:
    config = OptimiserConfig(learning_rate=2.0, warmup_steps=10, final_fraction=0.1)
    rates = [learning_rate(step, 101, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == 2.0
    assert rates[55] == pytest.approx(2.0 * (0.1 + 0.9 / 2.0))
    assert rates[100] == pytest.approx(0.2)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_stage_holds_until_the_next_and_biases_the_objective() -> None:
    config = train_config(
        curriculum=(Stage(0, (4,)), Stage(5, (8,), tau_min=0.3, tau_power=2.0, bootstrap_factor=2.0), Stage(9, (8,), bootstrap_factor=50.0))
    )
    assert [stage_at(step, config).frames for step in (0, 4, 5, 99)] == [(4,), (4,), (8,), (8,)]
    assert world_model_at(4, config).objective == OBJECTIVE
    biased = world_model_at(5, config).objective
    assert (biased.tau_min, biased.tau_max, biased.tau_power) == (0.3, OBJECTIVE.tau_max, 2.0)
    assert (OBJECTIVE.bootstrap_fraction, biased.bootstrap_fraction) == (0.25, 0.5)
    assert world_model_at(9, config).objective.bootstrap_fraction == 1.0, "no more than all"


@pytest.mark.parametrize("stages", [(), (Stage(1, (4,)),), (Stage(0, (4,)), Stage(0, (8,))), (Stage(0, (9,)),)])
def test_a_curriculum_out_of_order_or_longer_than_the_clips_is_refused(stages: tuple[Stage, ...]) -> None:
    with pytest.raises(ConfigurationError):
        train_config(curriculum=stages)


@pytest.mark.parametrize("never", [{"inference_fraction": 1.0}, {"kind": "deterministic"}], ids=str)
@pytest.mark.parametrize("levels", [{"tau_min": 0.3}, {"tau_max": 0.5}, {"tau_power": 2.0}], ids=str)
def test_signal_levels_of_a_curriculum_that_no_batch_is_drawn_with_are_refused(never: dict[str, Any], levels: dict[str, float]) -> None:
    stages = (Stage(0, (4,)), Stage(5, (8,), **levels))
    with pytest.raises(ConfigurationError, match=f"{next(iter(levels))} from step 5.*inference_fraction"):
        train_config(curriculum=stages, **never)
    train_config(curriculum=stages)
    train_config(curriculum=(Stage(0, (4,)), Stage(5, (8,), bootstrap_factor=2.0)), **never)


@pytest.mark.parametrize("steps", [3, 128])
def test_the_rollout_loss_imagines_in_powers_of_two_steps_at_most_the_finest(steps: int) -> None:
    with pytest.raises(ConfigurationError, match="sampled so"):
        configuration.replace_flat(train_config(), {"rollout_steps": [1, steps]}, "the command line")


def test_a_curriculum_is_given_whole_on_the_command_line() -> None:
    config = overridden(train_config(), ["curriculum=[{from_step: 0, frames: [6]}, {from_step: 4, frames: [8], horizon: 3}]"])
    assert config.curriculum == (Stage(0, (6,)), Stage(4, (8,), horizon=3))
    with pytest.raises(ConfigurationError, match=r"curriculum\[1\]\.horizons.*nearest: horizon"):
        overridden(config, ["curriculum=[{from_step: 0, frames: [6]}, {from_step: 4, frames: [8], horizons: 3}]"])


def test_a_rollout_loss_needs_whole_weights_and_a_context() -> None:
    with pytest.raises(ConfigurationError, match="fsdp"):
        train_config(strategy="fsdp", curriculum=(Stage(0, (8,), horizon=2),))
    with pytest.raises(ConfigurationError, match="horizon"):
        Stage(0, (4, 8), horizon=4)


def test_the_command_line_goes_over_the_file_and_the_file_over_the_defaults() -> None:
    plain, changed = configured.read(SHIPPED), configured.read(SHIPPED, ["run.steps=7", "model.grids=[[6, 6]]", "optimiser.clip=2"])
    assert (changed.run.steps, changed.model.grids, changed.optimiser.clip) == (7, ((6, 6),), 2.0)
    assert changed.optimiser.learning_rate == plain.optimiser.learning_rate != OptimiserConfig().learning_rate
    with pytest.raises(ConfigurationError, match=r"nearest: run\.steps"):
        configured.read(SHIPPED, ["run.step=7"])
    with pytest.raises(ConfigurationError, match="name=value"):
        configured.read(SHIPPED, ["run.steps"])
    with pytest.raises(ConfigurationError, match="command line"):
        configured.read(SHIPPED, ["run.steps=many"])


def test_draws_depend_on_the_batch_and_nothing_else() -> None:
    def draw(seed: int, batch: int) -> torch.Tensor:
        return torch.rand(4, generator=generator_of(seed, batch, torch.device("cpu")))

    assert torch.equal(draw(1, 5), draw(1, 5))
    assert not torch.equal(draw(1, 5), draw(1, 6))
    assert not torch.equal(draw(1, 5), draw(2, 5))
    seed_everything(1, 5, 0)
    once = torch.rand(4)
    seed_everything(1, 5, 1)
    assert not torch.equal(once, torch.rand(4)), "processes draw apart"


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_only_matrices_of_linear_layers_decay(kind: str) -> None:
    network = Transformer(MODEL)
    parts = optimiser.build(network, OptimiserConfig(kind=kind, weight_decay=0.3)).parts
    *decaying, others = (group for part in parts for group in part.param_groups)
    assert ({group["weight_decay"] for group in decaying}, others["weight_decay"]) == ({0.3}, 0.0)
    linear = {id(module.weight) for module in network.modules() if isinstance(module, nn.Linear)}
    assert {id(parameter) for group in decaying for parameter in group["params"]} == linear
    exempt = {id(parameter) for parameter in others["params"]}
    learned = (network.embedding.registers, network.embedding.start, network.embedding.action.null, network.embedding.signal.weight)
    assert all(id(parameter) in exempt for parameter in learned)
    assert len(linear) + len(exempt) == len(list(network.parameters()))


def test_a_long_clip_is_cut_into_short_ones_in_order() -> None:
    clips = Synthetic(3).clips(0)
    cut = clips.cut(3)
    assert cut.latents.shape[:2] == (6, 3)
    assert torch.equal(cut.latents[1], clips.latents[0, 3:6])
    assert torch.equal(cut.actions[4], clips.actions[2, 0:3])
    assert cut.labelled.tolist() == [flag for flag in clips.labelled.tolist() for _ in range(2)]
    assert cut.ids[2:4] == ("synthetic 0.1",) * 2
    with pytest.raises(TrainingError, match="too short"):
        clips.cut(9)


def test_measuring_leaves_the_source_in_place_and_looks_at_known_actions_only() -> None:
    source = Synthetic(6)
    source.next = 4
    statistics = measure(source, 3)
    assert source.next == 4
    batches = [Synthetic(6).clips(number) for number in (4, 5, 6)]
    latents = torch.cat([one.latents.flatten(0, 2) for one in batches]).double()
    known = torch.cat([one.actions[one.action_mask] for one in batches]).double()
    torch.testing.assert_close(statistics["latents"].mean.double(), latents.mean(0), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(statistics["actions"].std.double(), known.std(0, correction=0), atol=1e-5, rtol=0.0)


def test_a_model_with_a_proprioception_token_is_told_when_there_is_none() -> None:
    with_own, without = Synthetic(3, proprioception=2).clips(0), Synthetic(3).clips(0)
    statistics = measure(Synthetic(3, proprioception=2), 2)
    assert normalised(with_own, statistics, 0)[1].proprioception is None
    told, untold = normalised(with_own, statistics, 2)[1], normalised(without, statistics, 2)[1]
    assert told.proprioception_known is not None
    assert untold.proprioception_known is not None
    assert told.proprioception_known.any()
    assert not untold.proprioception_known.any()
