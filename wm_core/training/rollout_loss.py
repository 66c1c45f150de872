"""The rollout loss: the error of frames whose context is partly what the model imagined itself, as it will be when it plans.

The imagined frames carry no gradient (the model learns to come back from its own errors, not to hide them from itself), so a horizon
costs its sampling and one training pass more, whatever its length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wm_core.vision.tokens import pool
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.layout import committed_and_noised
from wm_core.world_model.model_config import WorldModelConfig
from wm_core.world_model.objective import Dynamics, draw_noise
from wm_core.world_model.reckoning import Reckoning
from wm_core.world_model.rollout import Rollout
from wm_core.world_model.sampler import corrupt
from wm_core.world_model.shortcut import Labels, Schedule, draw_labels, shortcut_errors
from wm_core.world_model.transformer import Transformer


@dataclass(frozen=True)
class Ahead:
    """How far is imagined, and the numbers of sampling steps K of a frame, of which every batch draws one.

    Few steps err otherwise than many: a model that plans with one and draws with four comes back from both errors if it has met both.
    """

    horizon: int
    steps: tuple[int, ...]

    def draw(self, generator: torch.Generator) -> int:
        return self.steps[int(torch.randint(0, len(self.steps), (), generator=generator, device=generator.device))]


def rollout_loss(
    student: Dynamics,
    imagining: Transformer,
    latents: Tensor,
    conditioning: Conditioning,
    ahead: Ahead,
    config: WorldModelConfig,
    generator: torch.Generator,
    reckoning: Reckoning | None = None,
) -> Tensor:
    """The flow loss of the last horizon - 1 frames of clips, or of the last one: normalised latents (B, T, P, D), horizon < T.

    `imagining` (the averaged weights) fills the last horizon frames of the context from the T - horizon before them.
    """
    objective, schedule = config.objective.resolved(), Schedule(config.model.finest_steps)
    seen = latents.shape[1] - ahead.horizon
    grid = config.model.grids[int(torch.randint(0, len(config.model.grids), (), generator=generator, device=generator.device))]
    clean = pool(latents.float(), config.model.grids[0], grid)
    told = conditioning if reckoning else _blind_from(conditioning, seen)
    rollout = Rollout(imagining, config, reckoning=reckoning)
    imagined = _imagined(rollout, clean[:, :seen], told, ahead, generator, grid)
    context = torch.cat([clean[:, :seen], imagined], dim=1)
    committed, signal, step = corrupt(context, draw_noise(clean, objective, generator), objective.context_noise, schedule)
    shape = clean.shape[:2]
    levels = replace(objective, tau_min=0.0, tau_max=1.0, tau_distribution="power", tau_power=objective.inference_tau_power)
    drawn = draw_labels((shape[0], shape[1]), schedule, levels, generator, coarse=False)
    if objective.kind == "deterministic":
        drawn = Labels(torch.zeros_like(drawn.signal), torch.zeros_like(drawn.step))
    labels = Labels(drawn.signal.to(clean.device), drawn.step.to(clean.device))
    layout = committed_and_noised(shape[1], config.model.context, clean.device)

    def network(noised: Tensor, signals: Tensor, steps: Tensor) -> Tensor:
        both = torch.cat([committed, noised], dim=1)
        both_signals = torch.cat([torch.full_like(signals, signal), signals], dim=1)
        both_steps = torch.cat([torch.full_like(steps, step), steps], dim=1)
        return student(both, both_signals, both_steps, told, layout, grid)

    errors = shortcut_errors(network, None, clean, draw_noise(clean, objective, generator), labels, schedule)
    loss = errors.error if objective.kind == "deterministic" else errors.loss
    return loss[:, min(seen + 1, shape[1] - 1) :].mean()


def _blind_from(conditioning: Conditioning, frame: int) -> Conditioning:
    """Without reckoning the proprioception of imagined frames is not known."""
    if conditioning.proprioception_known is None:
        return conditioning
    known = conditioning.proprioception_known.clone()
    known[:, frame:] = False
    return replace(conditioning, proprioception_known=known)


def _imagined(
    rollout: Rollout,
    context: Tensor,
    conditioning: Conditioning,
    ahead: Ahead,
    generator: torch.Generator,
    grid: tuple[int, int],
) -> Tensor:
    """Frames (B, H, P, D) that the recorded actions lead into, in fp32."""
    seen = context.shape[1]
    seed = int(torch.randint(0, 2**31, (), generator=generator, device=generator.device))
    with torch.autocast(context.device.type, enabled=False):
        prefilled = rollout.prefill(context, _until(conditioning, seen), seed, grid)
        led = slice(seen - 1, seen - 1 + ahead.horizon)
        actions, known = conditioning.actions[:, None, led], conditioning.known[:, None, led]
        return rollout.imagine(prefilled, actions, seeds=(seed,), steps=ahead.draw(generator), known=known)[0, :, 0]


def _until(conditioning: Conditioning, frames: int) -> Conditioning:
    parts = (conditioning.actions, conditioning.known, conditioning.proprioception, conditioning.proprioception_known)
    return Conditioning(*(None if part is None else part[:, :frames] for part in parts))  # type: ignore[arg-type]
