"""Imagining futures: a context is committed to a cache once, and any number of samples go on from it.

Everything here is normalised (see normalisation.py). A frame is committed by one pass at the context's signal level and the finest
step; that pass also denoises the next frame for the first time. All samples of a seed start each frame from the same noise, so that
their differences are their actions' (common random numbers).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from wm_core.errors import WorldModelError
from wm_core.world_model.cache import Memory, RingCache
from wm_core.world_model.conditioning import Conditioning, Incoming
from wm_core.world_model.layout import causal
from wm_core.world_model.model_config import WorldModelConfig
from wm_core.world_model.sampler import corrupt, sample
from wm_core.world_model.shortcut import Schedule
from wm_core.world_model.transformer import Transformer

Purpose = Literal["context", "start", "commit"]


def frame_noise(seed: int, frame: int, purpose: Purpose, shape: tuple[int, int]) -> Tensor:
    """Standard normal noise (P, D) that depends on the seed, the frame's number and what it is for, and on nothing else."""
    stream = 3 * frame + ("context", "start", "commit").index(purpose)
    generator = np.random.Generator(np.random.Philox(key=[seed % 2**63, stream]))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))


@dataclass
class Context:
    """Committed frames of G streams, and the number of the next one."""

    ring: RingCache
    grid: tuple[int, int]
    streams: int
    next_frame: int


class Rollout:
    """A network that imagines; one instance may serve any number of contexts, one call at a time."""

    def __init__(
        self,
        network: Transformer,
        config: WorldModelConfig,
        dtype: torch.dtype = torch.float32,
        compiler: Callable[[Callable[..., Tensor]], Callable[..., Tensor]] | None = None,
    ) -> None:
        """Passes and cache run in `dtype`, sampling in fp32; `compiler` wraps the pass, e.g. partial(torch.compile, dynamic=False)."""
        self.network, self.model, self.objective = network.eval(), config.model, config.objective.resolved()
        self.schedule, self.dtype = Schedule(config.model.finest_steps), dtype
        self._advance: Callable[..., Tensor] = compiler(network.advance) if compiler else network.advance

    @torch.no_grad()
    def prefill(self, latents: Tensor, conditioning: Conditioning, seed: int, grid: tuple[int, int] | None = None) -> Context:
        """Commit the frames (G, T, P, D) that were seen; conditioning.actions[:, T - 1] is not read, it belongs to what comes next."""
        grid = grid or self.model.grids[0]
        streams, frames = self._check_latents(latents, grid)
        _check_finite("actions of the context", conditioning.actions[conditioning.known])
        noise = torch.stack([self._noise(seed, frame, "context", grid, latents.device) for frame in range(frames)])
        committed, signal, step = corrupt(latents.float(), noise, self.objective.context_noise, self.schedule)
        layout = causal(frames, self.model.context, latents.device)
        signals, steps = (torch.full((1, frames), label, device=latents.device) for label in (signal, step))
        with self._precision(latents.device):
            kept = self.network.prefill(committed, signals, steps, conditioning, layout, grid)
        context = Context(self._ring(streams, 1, self.model.context, grid, latents), grid, streams, frames)
        last = layout.positions[-self.model.context :]
        places = context.ring.places(last, torch.ones_like(last, dtype=torch.bool))
        context.ring.occupy(last, places)
        for layer, pair in enumerate(kept):
            key, value = (part[:, last].permute(0, 2, 3, 1, 4).unsqueeze(3) for part in pair)
            context.ring.write(layer, key, value, places)
        return context

    @torch.no_grad()
    def extend(self, context: Context, latents: Tensor, action: Tensor, known: Tensor, seed: int) -> None:
        """Commit one more seen frame (G, P, D) of every stream, with the action (G, A) that led into it and whether it is known (G,)."""
        self._check_latents(latents[:, None], context.grid, context.streams)
        _check_finite("the action of the context", action[known])
        noise = self._noise(seed, context.next_frame, "context", context.grid, latents.device)
        committed, signal, step = corrupt(latents.float(), noise, self.objective.context_noise, self.schedule)
        memory = Memory(context.ring, None, 1, self.model.context)
        self._pass(memory, context.grid, [committed], [(signal, step)], [action], [known], context.next_frame, stays=1)
        context.next_frame += 1

    @torch.no_grad()
    def imagine(
        self, context: Context, actions: Tensor, seeds: tuple[int, ...] = (0,), steps: int | None = None, known: Tensor | None = None
    ) -> Tensor:
        """The frames (seeds, G, N, H, P, D) that actions (G, N, H, A) lead into; actions[:, :, 0] is applied after the last context frame.

        `steps` is K (default: the configuration's); known (G, N, H) bool says which actions are (default: all). The context stays as
        it is. Several seeds are several draws of the future; their spread is the model's uncertainty.
        """
        streams, samples, horizon = self._check_actions(context, actions, known)
        known = torch.ones(actions.shape[:3], dtype=torch.bool, device=actions.device) if known is None else known
        count = samples * len(seeds)
        actions = actions.float().repeat(1, len(seeds), 1, 1).flatten(0, 1)  # streams x (seeds x samples)
        known = known.repeat(1, len(seeds), 1).flatten(0, 1)
        ring = self._ring(streams, count, min(self.model.context, horizon), context.grid, actions)
        memory, frames = Memory(ring, context.ring, count, self.model.context), []
        pending: Tensor | None = None
        for index in range(horizon):
            number = context.next_frame + index
            start, commit = (self._common(seeds, number, purpose, context, samples, actions.device) for purpose in ("start", "commit"))
            begin = max(index - 1, 0)
            lead = actions[:, begin : index + 1], known[:, begin : index + 1]
            frame = self._frame(memory, context, start, pending, lead, number, steps)
            frames.append(frame)
            pending, _, _ = corrupt(frame, commit, self.objective.context_noise, self.schedule)
        return torch.stack(frames, dim=1).unflatten(0, (streams, len(seeds), samples)).transpose(0, 1)

    def _common(
        self, seeds: tuple[int, ...], number: int, purpose: Purpose, context: Context, samples: int, device: torch.device
    ) -> Tensor:
        """Noise (streams * seeds * samples, P, D) of one frame, the same for all samples and streams of a seed."""
        noise = torch.stack([self._noise(seed, number, purpose, context.grid, device) for seed in seeds])
        return noise[None, :, None].expand(context.streams, -1, samples, -1, -1).flatten(0, 2)

    def _frame(
        self,
        memory: Memory,
        context: Context,
        noise: Tensor,
        pending: Tensor | None,
        lead: tuple[Tensor, Tensor],
        position: int,
        steps: int | None,
    ) -> Tensor:
        """Sample the frame number `position`; its first pass commits the frame before it, if that is pending."""
        action, known = lead
        committed = (self.schedule.context_signal(self.objective.context_noise), self.schedule.finest_step)

        def network(latent: Tensor, signal: int, step: int) -> Tensor:
            if signal or pending is None:
                return self._pass(memory, context.grid, [latent], [(signal, step)], [action[:, -1]], [known[:, -1]], position, stays=0)
            latents, labels = [pending, latent], [committed, (signal, step)]
            return self._pass(memory, context.grid, latents, labels, list(action.unbind(1)), list(known.unbind(1)), position - 1, stays=1)

        return sample(network, noise, steps or self.objective.sampling_steps, self.schedule)

    def _pass(
        self,
        memory: Memory,
        grid: tuple[int, int],
        latents: list[Tensor],
        labels: list[tuple[int, int]],
        actions: list[Tensor],
        known: list[Tensor],
        start: int,
        stays: int,
    ) -> Tensor:
        """One pass over frames from number `start` on, of which the first `stays` enter the ring to stay; the last frame, fp32."""
        device = latents[0].device
        positions = torch.arange(start, start + len(latents), device=device)
        places = memory.own.places(positions, torch.arange(len(latents), device=device) < stays)
        signal, step = torch.tensor(labels, device=device).T[:, None]
        incoming = Incoming(torch.stack(actions, dim=1), torch.stack(known, dim=1), positions == 0)
        with self._precision(device):
            predicted = self._advance(torch.stack(latents, dim=1), signal, step, incoming, positions, places, memory, grid)
        return predicted.float()

    def _noise(self, seed: int, frame: int, purpose: Purpose, grid: tuple[int, int], device: torch.device) -> Tensor:
        shape = (grid[0] * grid[1], self.model.latent_dim)
        return (self.objective.noise_mean + self.objective.noise_std * frame_noise(seed, frame, purpose, shape)).to(device)

    def _ring(self, streams: int, samples: int, slots: int, grid: tuple[int, int], like: Tensor) -> RingCache:
        tokens = self.network.embedding.before + grid[0] * grid[1] + self.network.embedding.after
        shape = (streams, tokens, self.model.kv_heads, samples)
        width = self.model.dim // self.model.heads
        return RingCache(len(self.network.time_layers), shape, slots, width, like.new_empty((), dtype=self.dtype))

    def _precision(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def _check_latents(self, latents: Tensor, grid: tuple[int, int], streams: int | None = None) -> tuple[int, int]:
        allowed = f"(streams, frames, {grid[0] * grid[1]}, {self.model.latent_dim})"
        right = latents.ndim == 4 and tuple(latents.shape[2:]) == (grid[0] * grid[1], self.model.latent_dim) and latents.shape[1] > 0
        if grid not in self.model.grids or not right or (streams is not None and len(latents) != streams):
            raise WorldModelError("latents of the context are not this model's", got=f"{tuple(latents.shape)} on {grid}", allowed=allowed)
        _check_finite("latents of the context", latents)
        return latents.shape[0], latents.shape[1]

    def _check_actions(self, context: Context, actions: Tensor, known: Tensor | None) -> tuple[int, int, int]:
        right = actions.ndim == 4 and actions.shape[0] == context.streams and actions.shape[3] == self.model.action_dim
        if not right or 0 in actions.shape or (known is not None and known.shape != actions.shape[:3]):
            allowed = f"({context.streams} streams, samples, horizon, {self.model.action_dim})"
            raise WorldModelError("actions do not fit the context", got=tuple(actions.shape), allowed=allowed)
        _check_finite("planned actions", actions if known is None else actions[known])
        return actions.shape[0], actions.shape[1], actions.shape[2]


def _check_finite(what: str, values: Tensor) -> None:
    if not torch.isfinite(values).all():
        raise WorldModelError(f"{what} are not finite", got=f"{int((~torch.isfinite(values)).sum())} values")
