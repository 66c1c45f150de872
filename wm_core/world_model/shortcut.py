"""Shortcut forcing: drawing signal levels and step sizes per frame, and the two targets.

A frame's clean latent z1 and noise z0 mix to z~ = (1 - tau) z0 + tau z1: tau = 0 is noise, tau = 1 is clean. The network predicts the
clean latent from z~, tau and the step size d. At the finest d the target is z1 (flow); at a coarser one it is what two steps of half
the size reach (bootstrap), computed by a teacher. A network here is any callable (noised, signal, step) -> prediction, so that the
known-answer oracle runs through the same lines as the transformer.

Both labels are integers: signal = tau * finest (0 .. finest - 1) and step = -log2 d (0 .. log2 finest).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wm_core.errors import WorldModelError
from wm_core.world_model.model_config import ObjectiveConfig

Network = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Schedule:
    """The grid of signal levels and step sizes whose finest step size is 1 / finest.

    `expected`: sampling in one step gives the mean of all futures, see step_of.
    """

    finest: int
    expected: bool = False

    @property
    def finest_step(self) -> int:
        """The step label of the finest step size."""
        return self.finest.bit_length() - 1

    def step_of(self, steps: int) -> int:
        """The step label of sampling with `steps` steps.

        From noise alone, the finest step predicts the mean of what may come and the largest step one draw of it: for a single step, either
        is one pass. The mean is closer to whatever comes, and all seeds agree on it.
        """
        if steps < 1 or steps > self.finest or steps & (steps - 1):
            raise WorldModelError("a frame cannot be sampled with this many steps", got=steps, allowed=f"powers of two, 1 .. {self.finest}")
        return self.finest_step if self.expected and steps == 1 else steps.bit_length() - 1

    def context_signal(self, noise: float) -> int:
        """The signal label of context frames that carry this share of noise, at most the largest label there is."""
        return min(int((1.0 - noise) * self.finest + 1e-9), self.finest - 1)

    def tau(self, signal: Tensor, like: Tensor) -> Tensor:
        """Signal levels (...) as (..., 1, 1), to multiply latents (..., P, D) of the kind of `like`."""
        return (signal.to(like) / self.finest)[..., None, None]

    def size(self, step: Tensor, like: Tensor) -> Tensor:
        """Step sizes (...) as (..., 1, 1)."""
        return torch.exp2(-step.to(like))[..., None, None]


@dataclass(frozen=True)
class Labels:
    """The labels of frames: signal and step, (B, F) int64 each."""

    signal: Tensor
    step: Tensor


@dataclass(frozen=True)
class FrameErrors:
    """Mean squared errors of frames (B, F): `error` as it is, `loss` weighted, `coarse` where the target was a bootstrap."""

    error: Tensor
    loss: Tensor
    coarse: Tensor


def mix(clean: Tensor, noise: Tensor, tau: Tensor) -> Tensor:
    """z~ = (1 - tau) z0 + tau z1, in at least fp32."""
    return (1.0 - tau) * noise + tau * clean


def weight(tau: Tensor) -> Tensor:
    """The loss weight of a frame at signal level tau."""
    return 0.9 * tau + 0.1


def draw_labels(
    shape: tuple[int, int], schedule: Schedule, config: ObjectiveConfig, generator: torch.Generator, coarse: bool = True
) -> Labels:
    """Labels of frames (B, F), each drawn by itself; coarse steps, if any, only in the first `bootstrap_rows` of the (shuffled) clips."""
    step = _draw_step(shape, schedule, config, generator)
    if not coarse:
        step = torch.full_like(step, schedule.finest_step)
    level = torch.rand(shape, generator=generator, device=generator.device)
    unbiased = torch.rand(shape, generator=generator, device=generator.device) < config.unbiased_fraction
    level = torch.where(unbiased, level, _biased(level, config, generator))
    steps = torch.exp2(step.double())
    multiple = torch.minimum((level * steps).floor(), steps - 1.0)  # steps - 1: the largest signal that still has a step to go
    return Labels((multiple * schedule.finest / steps).long(), step)


def _draw_step(shape: tuple[int, int], schedule: Schedule, config: ObjectiveConfig, generator: torch.Generator) -> Tensor:
    finest, device = schedule.finest_step, generator.device
    rows = teacher_rows(shape[0], config)
    coarsest = 1 if config.single_step == "mean" else 0  # then nothing is ever sampled with the step of size 1, see step_of
    if config.step_distribution == "uniform":
        step = torch.randint(coarsest, finest + 1, shape, generator=generator, device=device)
    else:
        coarse = torch.rand(shape, generator=generator, device=device) < config.bootstrap_fraction * shape[0] / rows
        step = torch.randint(coarsest, finest, shape, generator=generator, device=device)
        step = torch.where(coarse, step, finest)
    step[rows:] = finest
    return step


def teacher_rows(clips: int, config: ObjectiveConfig) -> int:
    """How many clips of a batch have frames with a bootstrap target, at least enough for their share of all frames."""
    return min(clips, max(1, round(max(config.bootstrap_rows, config.bootstrap_fraction) * clips)))


def _biased(level: Tensor, config: ObjectiveConfig, generator: torch.Generator) -> Tensor:
    if config.tau_distribution == "power":
        level = level ** (1.0 / config.tau_power)
    elif config.tau_distribution == "logit_normal":
        normal = torch.randn(level.shape, generator=generator, device=level.device)
        level = config.tau_power * normal.exp() / (1.0 + config.tau_power * normal.exp())
    return config.tau_min + (config.tau_max - config.tau_min) * level


@torch.no_grad()
def bootstrap_target(teacher: Network, noised: Tensor, labels: Labels, schedule: Schedule) -> Tensor:
    """Where two steps of half the size lead, as a clean latent; frames at the finest step stay as they are while the others move.

    noised (B, F, P, D) in at least fp32. The teacher runs without gradient and without autocast.
    """
    coarse = labels.step < schedule.finest_step
    finer = torch.where(coarse, labels.step + 1, labels.step)
    half_size = torch.full_like(finer, schedule.finest) >> finer  # d / 2 in units of the finest step
    middle = torch.where(coarse, labels.signal + half_size, labels.signal)
    tau, later, half = schedule.tau(labels.signal, noised), schedule.tau(middle, noised), schedule.size(finer, noised)
    with torch.autocast(noised.device.type, enabled=False):
        first = (teacher(noised, labels.signal, finer).to(noised) - noised) / (1.0 - tau)
        moved = torch.where(coarse[..., None, None], noised + first * half, noised)
        second = (teacher(moved, middle, finer).to(noised) - moved) / (1.0 - later)
    return noised + (1.0 - tau) * (first + second) / 2.0


def shortcut_errors(
    student: Network, teacher: Network | None, clean: Tensor, noise: Tensor, labels: Labels, schedule: Schedule, rows: int | None = None
) -> FrameErrors:
    """Errors of the student on clean latents (B, F, P, D); without a teacher every step must be the finest.

    Only the first `rows` clips are shown to the teacher (default: all).
    """
    clean, noise = _at_least_fp32(clean), _at_least_fp32(noise)
    tau = schedule.tau(labels.signal, clean)
    noised = mix(clean, noise, tau)
    coarse = labels.step < schedule.finest_step
    target = clean
    if teacher is not None:
        head = slice(None, rows)
        reached = bootstrap_target(teacher, noised[head], Labels(labels.signal[head], labels.step[head]), schedule)
        target = clean.clone()
        target[head] = torch.where(coarse[head][..., None, None], reached, clean[head])
    prediction = student(noised, labels.signal, labels.step)
    error = (_at_least_fp32(prediction) - target).square().mean((-2, -1))
    return FrameErrors(error, weight(tau[..., 0, 0]) * error, coarse)


def _at_least_fp32(value: Tensor) -> Tensor:
    return value.to(torch.promote_types(value.dtype, torch.float32))
