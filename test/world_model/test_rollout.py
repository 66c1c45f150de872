"""Protects imagination: the cached rollout is the full forward pass, the context is shared and untouched, samples differ by action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_models import awake, small_config
from torch import Tensor

from wm_core.errors import WorldModelError
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.layout import causal
from wm_core.world_model.model_config import WorldModelConfig
from wm_core.world_model.rollout import Rollout, frame_noise
from wm_core.world_model.sampler import corrupt, sample
from wm_core.world_model.shortcut import Schedule
from wm_core.world_model.transformer import Transformer

SCHEDULE = Schedule(64)
SHAPE = (6, 5)


def seen(frames: int, streams: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(streams, frames, *SHAPE, generator=generator), torch.randn(streams, frames, 3, generator=generator)


def certain(actions: Tensor) -> Conditioning:
    return Conditioning(actions, torch.ones(actions.shape[:2], dtype=torch.bool))


def full_forward(
    network: Transformer, config: WorldModelConfig, past: Tensor, actions: Tensor, horizon: int, steps: int, seed: int
) -> Tensor:
    """Imagined frames (G, H, P, D) with one pass over everything for each step; actions (G, T + H - 1, A) are those after each frame."""
    schedule, share = Schedule(config.model.finest_steps), config.objective.context_noise
    committed = [corrupt(past[:, t], frame_noise(seed, t, "context", SHAPE), share, schedule)[0] for t in range(past.shape[1])]
    imagined = []
    for number in range(past.shape[1], past.shape[1] + horizon):

        def network_at(z: Tensor, signal: int, step: int, number: int = number) -> Tensor:
            frames = torch.stack([*committed, z], dim=1)
            signals, finest = (
                torch.full(frames.shape[:2], schedule.context_signal(share)),
                torch.full(frames.shape[:2], schedule.finest_step),
            )
            signals[:, -1], finest[:, -1] = signal, step
            lead = torch.cat([actions[:, :number], torch.zeros_like(actions[:, :1])], dim=1)
            return network(frames, signals, finest, certain(lead), causal(number + 1, config.model.context))[:, -1]

        noise = frame_noise(seed, number, "start", SHAPE).expand(past.shape[0], -1, -1)
        imagined.append(sample(network_at, noise, steps, schedule))
        committed.append(corrupt(imagined[-1], frame_noise(seed, number, "commit", SHAPE), share, schedule)[0])
    return torch.stack(imagined, dim=1)


@pytest.mark.parametrize(("frames", "horizon"), [(1, 3), (3, 2), (6, 4), (4, 9), (11, 9)], ids=lambda value: str(value))
@pytest.mark.parametrize("steps", [1, 4])
@torch.no_grad()
def test_trap_15_the_cached_rollout_is_the_full_forward_pass_also_past_the_windows_edge(frames: int, horizon: int, steps: int) -> None:
    config = small_config()  # looks back 6 frames
    network, (past, actions) = awake(config), seen(frames)
    plans = torch.randn(2, 3, horizon, 3, generator=torch.Generator().manual_seed(5))
    rollout = Rollout(network, config)
    imagined = rollout.imagine(rollout.prefill(past, certain(actions), seed=7), plans, seeds=(7,), steps=steps)
    for sample_index in range(3):
        lead = torch.cat([actions[:, :-1], plans[:, sample_index]], dim=1)
        wanted = full_forward(network, config, past, lead, horizon, steps, seed=7)
        torch.testing.assert_close(imagined[0, :, sample_index], wanted, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_trap_15_extending_a_context_is_prefilling_a_longer_one() -> None:
    config = small_config()
    network, (past, actions) = awake(config), seen(15)
    rollout, plans = Rollout(network, config), torch.randn(2, 3, 4, 3)
    context = rollout.prefill(past[:, :2], certain(actions[:, :2]), seed=1)
    for frame in range(2, 15):
        rollout.extend(context, past[:, frame], actions[:, frame - 1], torch.ones(2, dtype=torch.bool), seed=1)
    whole = rollout.prefill(past, certain(actions), seed=1)
    assert context.next_frame == whole.next_frame == 15
    torch.testing.assert_close(rollout.imagine(context, plans), rollout.imagine(whole, plans), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_shared_context_gives_what_a_copied_one_gives_and_is_left_as_it_was() -> None:
    config = small_config()
    rollout, (past, actions) = Rollout(awake(config), config), seen(8, streams=1)
    plans = torch.randn(1, 4, 5, 3)
    context = rollout.prefill(past, certain(actions), seed=1)
    before = [part.clone() for part in (*context.ring.keys, *context.ring.values, context.ring.positions)]
    shared = rollout.imagine(context, plans)
    copied = rollout.prefill(past.repeat(4, 1, 1, 1), certain(actions.repeat(4, 1, 1)), seed=1)
    alone = rollout.imagine(copied, plans.transpose(0, 1))
    torch.testing.assert_close(shared[0, 0], alone[0, :, 0], atol=1e-5, rtol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(before, (*context.ring.keys, *context.ring.values, context.ring.positions), strict=True))
    assert context.ring.bytes() * 4 == copied.ring.bytes()


@torch.no_grad()
def test_trap_17_samples_of_a_seed_differ_by_their_actions_alone() -> None:
    config = small_config()
    rollout, (past, actions) = Rollout(awake(config), config), seen(3)
    plans = torch.randn(2, 3, 4, 3)
    plans[:, 2] = plans[:, 0]
    plans[:, 1, 3] = plans[:, 0, 3]
    plans[:, 1, 0] = plans[:, 0, 0]
    context = rollout.prefill(past, certain(actions), seed=1)
    futures = rollout.imagine(context, plans, seeds=(4, 9))
    assert futures.shape == (2, 2, 3, 4, *SHAPE)
    torch.testing.assert_close(futures[:, :, 0], futures[:, :, 2])
    torch.testing.assert_close(futures[:, :, 0, 0], futures[:, :, 1, 0])
    assert (futures[:, :, 0, 1] - futures[:, :, 1, 1]).abs().max() > 1e-3
    assert (futures[0] - futures[1]).abs().max() > 1e-2
    torch.testing.assert_close(rollout.imagine(context, plans[:, :1], seeds=(9,))[0, :, 0], futures[1, :, 0], atol=1e-5, rtol=1e-5)
    shorter = rollout.imagine(context, plans[:, :, :2], seeds=(4,))
    torch.testing.assert_close(shorter[0], futures[0, :, :, :2], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_unknown_actions_may_be_imagined() -> None:
    config = small_config()
    rollout, (past, actions) = Rollout(awake(config), config), seen(3)
    context = rollout.prefill(past, certain(actions), seed=1)
    known = torch.ones(2, 1, 3, dtype=torch.bool)
    known[:, :, 1] = False
    plans = torch.randn(2, 1, 3, 3)
    plans[:, :, 1] = float("nan")
    futures, other = rollout.imagine(context, plans, known=known), rollout.imagine(context, plans.nan_to_num(5.0), known=known)
    assert torch.isfinite(futures).all()
    torch.testing.assert_close(futures, other)


@torch.no_grad()
def test_pooled_grids_and_the_deterministic_model_roll_out() -> None:
    config = small_config(kind="deterministic")
    rollout, plans = Rollout(awake(config), config), torch.randn(2, 3, 4, 3)
    context = rollout.prefill(torch.randn(2, 3, 1, 5), certain(torch.randn(2, 3, 3)), seed=0, grid=(1, 1))
    futures = rollout.imagine(context, plans, seeds=(1, 2))
    assert futures.shape == (2, 2, 3, 4, 1, 5)
    torch.testing.assert_close(futures[0], futures[1])  # no noise, no spread


@torch.no_grad()
def test_the_deterministic_model_imagines_as_it_was_trained_whatever_k_is_asked_for() -> None:
    config = small_config(kind="deterministic", single_step="mean", noise_mean=0.5)
    network, (past, actions), plans = awake(config), seen(4), torch.randn(2, 1, 3, 3)
    rollout = Rollout(network, config)
    context = rollout.prefill(past, certain(actions), seed=1)
    one = rollout.imagine(context, plans, steps=1)
    for steps in (None, 2, 4, 64):
        assert torch.equal(rollout.imagine(context, plans, steps=steps), one)

    clean, signal, finest = corrupt(past, torch.zeros_like(past), 0.0, SCHEDULE)
    frames = torch.cat([clean, torch.zeros_like(past[:, :1])], dim=1)
    lead = certain(torch.cat([actions[:, :-1], plans[:, 0, :2]], dim=1))

    def last(signal_label: int, step_label: int) -> Tensor:
        signals, steps = torch.full(frames.shape[:2], signal), torch.full(frames.shape[:2], finest)
        signals[:, -1], steps[:, -1] = signal_label, step_label
        return network(frames, signals, steps, lead, causal(5, config.model.context))[:, -1]

    torch.testing.assert_close(one[0, :, 0, 0], last(0, 0), atol=1e-4, rtol=1e-4)
    assert (last(0, 0) - last(0, 2)).abs().max() > 1e-2, "another label of the step would have told"


@torch.no_grad()
def test_bf16_passes_stay_near_fp32() -> None:
    config = small_config()
    past, actions = seen(5)
    plans = torch.randn(2, 3, 3, 3)
    futures = []
    for dtype in (torch.float32, torch.bfloat16):
        rollout = Rollout(awake(config), config, dtype=dtype)
        context = rollout.prefill(past, certain(actions), seed=1)
        assert context.ring.keys[0].dtype == dtype
        futures.append(rollout.imagine(context, plans))
    assert futures[1].dtype == torch.float32
    assert (futures[0] - futures[1]).square().mean() < 1e-3 * futures[0].square().mean()


@torch.no_grad()
def test_the_pass_is_one_graph_and_compiles_once_for_all_steps() -> None:
    config, graphs = small_config(layers=2), []
    past, actions = seen(3)

    def backend(graph: Any, _: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    network = awake(config)
    plain = Rollout(network, config)
    rollout = Rollout(network, config, compiler=lambda call: torch.compile(call, backend=backend, fullgraph=True, dynamic=False))
    for seed in (1, 2):
        plans = torch.randn(2, 3, 4, 3, generator=torch.Generator().manual_seed(seed))
        context = rollout.prefill(past, certain(actions), seed=seed)
        torch.testing.assert_close(rollout.imagine(context, plans), plain.imagine(context, plans))
    assert len(graphs) == 2  # with and without a frame to commit


@pytest.mark.parametrize("shape", [(2, 3, 4, 2), (1, 3, 4, 3), (2, 3, 0, 3), (3, 4, 3)])
def test_actions_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    config = small_config()
    rollout, (past, actions) = Rollout(awake(config), config), seen(3)
    context = rollout.prefill(past, certain(actions), seed=1)
    with pytest.raises(WorldModelError, match=r"\(2 streams, samples, horizon, 3\)"):
        rollout.imagine(context, torch.zeros(shape))


def test_values_that_are_not_finite_are_refused() -> None:
    config = small_config()
    rollout, (past, actions) = Rollout(awake(config), config), seen(3)
    with pytest.raises(WorldModelError, match="not finite"):
        rollout.prefill(past.clone().fill_(float("nan")), certain(actions), seed=1)
    with pytest.raises(WorldModelError, match="not this model's"):
        rollout.prefill(past[..., :4], certain(actions), seed=1)
    context = rollout.prefill(past, certain(actions), seed=1)
    plans = torch.zeros(2, 1, 1, 3)
    plans[1, 0, 0, 2] = float("inf")
    with pytest.raises(WorldModelError, match="planned actions are not finite; got: 1 values"):
        rollout.imagine(context, plans)
