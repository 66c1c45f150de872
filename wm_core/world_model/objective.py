"""One training batch: clips to a loss, in the pattern of diffusion forcing or in exactly that of inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from wm_core.errors import WorldModelError
from wm_core.vision.tokens import pool
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.layout import Layout, causal, committed_and_noised
from wm_core.world_model.model_config import ObjectiveConfig, WorldModelConfig
from wm_core.world_model.sampler import corrupt
from wm_core.world_model.shortcut import FrameErrors, Labels, Network, Schedule, draw_labels, shortcut_errors, teacher_rows

Dynamics = Callable[[Tensor, Tensor, Tensor, Conditioning, Layout, tuple[int, int]], Tensor]


@dataclass(frozen=True)
class Loss:
    """The loss to descend, and terms "pattern/branch/labelled": (2,) sum of unweighted frame errors and number of frames.

    pattern: forcing or inference; branch: flow or bootstrap; the last word: labelled (any action of the clip is known) or unlabelled.
    """

    total: Tensor
    terms: dict[str, Tensor]


def training_loss(
    student: Dynamics,
    teacher: Dynamics | None,
    latents: Tensor,
    conditioning: Conditioning,
    config: WorldModelConfig,
    generator: torch.Generator,
) -> Loss:
    """The loss of clips: normalised latents (B, T, P, D) on the encoder's grid, with their conditioning.

    Without a teacher (before `bootstrap_start`) every frame has the finest step. Pattern, grid, labels, noise and which clips learn coarse
    steps come from `generator`.
    """
    if isinstance(teacher, nn.Module) and teacher.training:
        raise WorldModelError("the teacher is in training mode", mend="call eval() on the averaged weights")
    objective, grids = config.objective.resolved(), config.model.grids
    if teacher is not None and teacher_rows(len(latents), objective) < len(latents):
        latents, conditioning = _shuffled(latents, conditioning, generator)
    conditioning_seen = conditioning.dropped(objective.action_dropout, objective.proprioception_dropout, generator)
    grid = grids[int(torch.randint(0, len(grids), (), generator=generator, device=generator.device))]
    clean = pool(latents.float(), grids[0], grid)
    exact = bool(torch.rand((), generator=generator, device=generator.device) < objective.inference_fraction)
    call = _Call(config, objective, conditioning_seen, grid)
    if objective.kind == "deterministic":
        errors = _deterministic(student, clean, call)
    elif exact:
        errors = _inference(student, teacher, clean, call, generator)
    else:
        errors = _forcing(student, teacher, clean, call, generator)
    labelled = conditioning.known.any(dim=1)
    return Loss(errors.loss.mean(), _terms("inference" if exact else "forcing", errors, labelled))


@dataclass(frozen=True)
class _Call:
    """What stays the same over the network calls of one batch."""

    config: WorldModelConfig
    objective: ObjectiveConfig
    conditioning: Conditioning
    grid: tuple[int, int]

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.config.model.finest_steps)

    def forcing(self, dynamics: Dynamics, frames: int) -> Network:
        def network(noised: Tensor, signal: Tensor, step: Tensor) -> Tensor:
            layout = causal(frames, self.config.model.context, noised.device)
            return dynamics(noised, signal, step, self.conditioning.rows(slice(len(noised))), layout, self.grid)

        return network

    def inference(self, dynamics: Dynamics, committed: Tensor, signal: int, step: int) -> Network:
        """A network on noised frames (B, T, P, D) that are each led up to by committed ones with these labels."""

        def network(noised: Tensor, signals: Tensor, steps: Tensor) -> Tensor:
            rows, frames = noised.shape[:2]
            layout = committed_and_noised(frames, self.config.model.context, noised.device)
            both = torch.cat([committed[:rows], noised], dim=1)
            both_signals = torch.cat([torch.full_like(signals, signal), signals], dim=1)
            both_steps = torch.cat([torch.full_like(steps, step), steps], dim=1)
            return dynamics(both, both_signals, both_steps, self.conditioning.rows(slice(rows)), layout, self.grid)

        return network


def draw_noise(like: Tensor, objective: ObjectiveConfig, generator: torch.Generator) -> Tensor:
    """Noise z0 in the shape of `like`, fp32."""
    normal = torch.randn(like.shape, generator=generator, device=generator.device).to(like.device)
    return objective.noise_mean + objective.noise_std * normal


def _shuffled(latents: Tensor, conditioning: Conditioning, generator: torch.Generator) -> tuple[Tensor, Conditioning]:
    """The clips in another order: the first ones learn coarse steps, and a mixture has its labelled clips at the same places for ever."""
    order = torch.randperm(len(latents), generator=generator, device=generator.device).to(latents.device)
    return latents[order], conditioning.rows(order)


def _labels(clean: Tensor, call: _Call, teacher: Dynamics | None, generator: torch.Generator, objective: ObjectiveConfig) -> Labels:
    drawn = draw_labels((clean.shape[0], clean.shape[1]), call.schedule, objective, generator, coarse=teacher is not None)
    return Labels(drawn.signal.to(clean.device), drawn.step.to(clean.device))


def _forcing(student: Dynamics, teacher: Dynamics | None, clean: Tensor, call: _Call, generator: torch.Generator) -> FrameErrors:
    labels, noise = _labels(clean, call, teacher, generator, call.objective), draw_noise(clean, call.objective, generator)
    frames = clean.shape[1]
    guide = None if teacher is None else call.forcing(teacher, frames)
    rows = teacher_rows(len(clean), call.objective)
    return shortcut_errors(call.forcing(student, frames), guide, clean, noise, labels, call.schedule, rows)


def _inference(student: Dynamics, teacher: Dynamics | None, clean: Tensor, call: _Call, generator: torch.Generator) -> FrameErrors:
    levels = replace(call.objective, tau_min=0.0, tau_max=1.0, tau_distribution="power", tau_power=call.objective.inference_tau_power)
    labels, noise = _labels(clean, call, teacher, generator, levels), draw_noise(clean, call.objective, generator)
    context_noise = draw_noise(clean, call.objective, generator)
    committed, signal, step = corrupt(clean, context_noise, call.objective.context_noise, call.schedule)
    guide = None if teacher is None else call.inference(teacher, committed, signal, step)
    rows = teacher_rows(len(clean), call.objective)
    network = call.inference(student, committed, signal, step)
    return _without_first(shortcut_errors(network, guide, clean, noise, labels, call.schedule, rows))


def _deterministic(student: Dynamics, clean: Tensor, call: _Call) -> FrameErrors:
    committed, signal, step = corrupt(clean, torch.zeros_like(clean), call.objective.context_noise, call.schedule)
    zero = torch.zeros(clean.shape[:2], dtype=torch.long, device=clean.device)
    predicted = call.inference(student, committed, signal, step)(torch.zeros_like(clean), zero, zero)
    error = (predicted.float() - clean).square().mean((-2, -1))
    return _without_first(FrameErrors(error, error, torch.zeros_like(zero, dtype=torch.bool)))


def _without_first(errors: FrameErrors) -> FrameErrors:
    """A clip's first frame follows from nothing and is never sampled."""
    return FrameErrors(errors.error[:, 1:], errors.loss[:, 1:], errors.coarse[:, 1:])


def _terms(pattern: str, errors: FrameErrors, labelled: Tensor) -> dict[str, Tensor]:
    error, terms = errors.error.detach(), {}
    for branch, frames in (("flow", ~errors.coarse), ("bootstrap", errors.coarse)):
        for name, clips in (("labelled", labelled), ("unlabelled", ~labelled)):
            chosen = frames & clips[:, None]
            terms[f"{pattern}/{branch}/{name}"] = torch.stack([(error * chosen).sum(), chosen.sum().to(error)])
    return terms
