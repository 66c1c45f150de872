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
from numpy.typing import NDArray
from torch import Tensor

from wm_core.errors import WorldModelError
from wm_core.world_model.cache import Memory, RingCache
from wm_core.world_model.conditioning import Conditioning, Incoming
from wm_core.world_model.engine import Engine, Feed, array, context_feed
from wm_core.world_model.imagination_graph import Shape
from wm_core.world_model.layout import causal
from wm_core.world_model.model_config import WorldModelConfig
from wm_core.world_model.reckoning import Reckoning
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
    """Committed frames of G streams, and the number of the next one.

    Of the last one: its latents as committed (G, P, D), and its own reading (G, Q) where that is known (G,).
    """

    ring: RingCache
    grid: tuple[int, int]
    streams: int
    next_frame: int
    last: Tensor
    reading: Tensor
    reading_known: Tensor


@dataclass(frozen=True)
class _Lead:
    """What leads into frames (B, H): actions (B, H, A), the readings (B, H, Q) they give, and which of either are known (B, H)."""

    action: Tensor
    known: Tensor
    reading: Tensor
    reading_known: Tensor

    def part(self, frames: slice) -> _Lead:
        return _Lead(self.action[:, frames], self.known[:, frames], self.reading[:, frames], self.reading_known[:, frames])


class Rollout:
    """A network that imagines; one instance may serve any number of contexts, one call at a time."""

    def __init__(
        self,
        network: Transformer,
        config: WorldModelConfig,
        dtype: torch.dtype = torch.float32,
        compiler: Callable[[Callable[..., Tensor]], Callable[..., Tensor]] | None = None,
        reckoning: Reckoning | None = None,
        engine: Engine | None = None,
    ) -> None:
        """Passes and cache run in `dtype`, sampling in fp32; `compiler` wraps the pass, e.g. partial(torch.compile, dynamic=False).

        With `reckoning` imagined frames are told where their actions put the tool; without it they are told nothing of it. `engine`
        imagines in place of the network, in fp32, where there is one stream and all actions are known.
        """
        self._reckoning, self._engine = reckoning, engine
        self.network, self.model, self.objective = network.eval(), config.model, config.objective.resolved()
        self.schedule, self.dtype = Schedule(config.model.finest_steps, self.objective.single_step == "mean"), dtype
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
        reading, reading_known = self._readings(conditioning, streams, latents.device)
        ring = self._ring(streams, 1, self.model.context, grid, latents)
        context = Context(ring, grid, streams, frames, committed[:, -1], reading, reading_known)
        last = layout.positions[-self.model.context :]
        places = context.ring.places(last, torch.ones_like(last, dtype=torch.bool))
        context.ring.occupy(last, places)
        for layer, pair in enumerate(kept):
            key, value = (part[:, last].permute(0, 2, 3, 1, 4).unsqueeze(3) for part in pair)
            context.ring.write(layer, key, value, places)
        return context

    @torch.no_grad()
    def extend(self, context: Context, latents: Tensor, action: Tensor, known: Tensor, seed: int, reading: Tensor | None = None) -> None:
        """Commit one more seen frame (G, P, D) of every stream, with the action (G, A) that led into it and whether it is known (G,).

        `reading` (G, Q) is the frame's own proprioception; None: it is not known.
        """
        self._check_latents(latents[:, None], context.grid, context.streams)
        _check_finite("the action of the context", action[known])
        noise = self._noise(seed, context.next_frame, "context", context.grid, latents.device)
        committed, signal, step = corrupt(latents.float(), noise, self.objective.context_noise, self.schedule)
        context.reading_known = torch.full_like(context.reading_known, reading is not None)
        context.reading = torch.zeros_like(context.reading) if reading is None else reading
        _check_finite("values in the reading of the context", context.reading)
        lead = _Lead(action[:, None], known[:, None], context.reading[:, None], context.reading_known[:, None])
        memory = Memory(context.ring, None, 1, self.model.context)
        self._pass(memory, context.grid, context.last, [committed], [(signal, step)], lead, context.next_frame, stays=1)
        context.next_frame, context.last = context.next_frame + 1, committed

    @torch.no_grad()
    def imagine(
        self, context: Context, actions: Tensor, seeds: tuple[int, ...] = (0,), steps: int | None = None, known: Tensor | None = None
    ) -> Tensor:
        """The frames (seeds, G, N, H, P, D) that actions (G, N, H, A) lead into; actions[:, :, 0] is applied after the last context frame.

        `steps` is K (default: the configuration's); a deterministic model takes one whatever is asked for. known (G, N, H) bool says which
        actions are (default: all). The context stays as it is. Several seeds are several draws of the future; their spread is the model's
        uncertainty.
        """
        streams, samples, horizon = self._check_actions(context, actions, known)
        known = torch.ones(actions.shape[:3], dtype=torch.bool, device=actions.device) if known is None else known
        steps = self.objective.steps_for(steps)
        if self._engine is not None and streams == 1 and bool(known.all()):
            return self._by_engine(self._engine, context, actions[0].float(), seeds, steps)
        count = samples * len(seeds)
        actions = actions.float().repeat(1, len(seeds), 1, 1).flatten(0, 1)  # streams x (seeds x samples)
        lead = self._lead(context, actions, known.repeat(1, len(seeds), 1).flatten(0, 1))
        ring = self._ring(streams, count, min(self.model.context, horizon), context.grid, actions)
        memory, frames = Memory(ring, context.ring, count, self.model.context), list[Tensor]()
        before = context.last.repeat_interleave(count, dim=0)
        for index in range(horizon):
            number = context.next_frame + index
            start, commit = (self._common(seeds, number, purpose, context, samples, actions.device) for purpose in ("start", "commit"))
            here = lead.part(slice(max(index - 1, 0), index + 1))
            frames.append(self._frame(memory, context, start, before, here, number, steps))
            before, _, _ = corrupt(frames[-1], commit, self.objective.context_noise, self.schedule)
        return torch.stack(frames, dim=1).unflatten(0, (streams, len(seeds), samples)).transpose(0, 1)

    def feeds(self, context: Context, actions: Tensor, seeds: tuple[int, ...]) -> list[Feed]:
        """What an engine needs to imagine where actions (N, H, A) lead from a context of one stream, for each seed."""
        numbers = torch.arange(context.next_frame, context.next_frame + actions.shape[1], device=actions.device)
        lead = self._lead(context, actions, torch.ones(actions.shape[:2], dtype=torch.bool, device=actions.device))
        common = context_feed(context.ring, context.last[0], numbers, self.model) | {"actions": array(actions)}
        if self.model.proprioception_dim:
            common |= {"readings": array(lead.reading), "known": array(lead.reading_known.all())}
        purposes: tuple[Purpose, Purpose] = ("start", "commit")
        drawn = [{purpose: self._noises(seed, numbers, purpose, context.grid) for purpose in purposes} for seed in seeds]
        return [common | noise for noise in drawn]

    def _by_engine(self, engine: Engine, context: Context, actions: Tensor, seeds: tuple[int, ...], steps: int) -> Tensor:
        """The frames (seeds, 1, N, H, P, D) that actions (N, H, A) lead into."""
        shape = Shape(actions.shape[1], steps, context.grid)
        imagined = [torch.from_numpy(engine.frames(shape, feed)) for feed in self.feeds(context, actions, seeds)]
        return torch.stack(imagined)[:, None].to(actions.device)

    @torch.no_grad()
    def commit(self, context: Context, actions: Tensor, seed: int, steps: int | None = None) -> None:
        """Commit the frames that actions (G, C, A) under way are imagined to lead into, with the readings that they are reckoned to give.

        A reading is told where it is known of every stream.
        """
        known = torch.ones(actions.shape[:2], dtype=torch.bool, device=actions.device)
        lead = self._lead(context, actions.float(), known)
        for index in range(actions.shape[1]):  # one by one: an engine prepares each length that it is asked for, which takes seconds
            ahead = self.imagine(context, actions[:, None, index : index + 1], (seed,), steps)[0, :, 0, 0]
            reading = lead.reading[:, index] if bool(lead.reading_known[:, index].all()) else None
            self.extend(context, ahead, actions[:, index].float(), known[:, index], seed, reading)

    def _lead(self, context: Context, actions: Tensor, known: Tensor) -> _Lead:
        """Of B = streams x count imagined futures; a reading is known as long as all actions since the last one are."""
        count = len(actions) // context.streams
        reading, reading_known = (part.repeat_interleave(count, dim=0) for part in (context.reading, context.reading_known))
        ahead = reading[:, None].expand(-1, actions.shape[1], -1)
        if self._reckoning is None:
            return _Lead(actions, known, ahead, torch.zeros_like(known))
        certain = reading_known[:, None] & known.cumprod(1).bool()
        ahead = self._reckoning.ahead(reading, torch.where(known[..., None], actions, 0.0))
        return _Lead(actions, known, ahead, certain)

    def _readings(self, conditioning: Conditioning, streams: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Of the last frame of a context; zeros that are not known where there are none."""
        if conditioning.proprioception is None or conditioning.proprioception_known is None:
            return torch.zeros(streams, self.model.proprioception_dim, device=device), torch.zeros(streams, dtype=torch.bool, device=device)
        _check_finite("readings of the context", conditioning.proprioception[conditioning.proprioception_known])
        known = conditioning.proprioception_known[:, -1]
        return torch.where(known[:, None], conditioning.proprioception[:, -1], 0.0), known

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
        before: Tensor,
        lead: _Lead,
        position: int,
        steps: int,
    ) -> Tensor:
        """Sample the frame number `position`; its first pass commits the frame before it, if that was imagined too."""
        last = lead.part(slice(-1, None))
        committed = (self.schedule.context_signal(self.objective.context_noise), self.schedule.finest_step)

        def network(latent: Tensor, signal: int, step: int) -> Tensor:
            if signal or position == context.next_frame:
                return self._pass(memory, context.grid, before, [latent], [(signal, step)], last, position, stays=0)
            latents, labels = [before, latent], [committed, (signal, step)]
            return self._pass(memory, context.grid, before, latents, labels, lead, position - 1, stays=1)

        return sample(network, noise, steps, self.schedule)

    def _pass(
        self,
        memory: Memory,
        grid: tuple[int, int],
        before: Tensor,
        latents: list[Tensor],
        labels: list[tuple[int, int]],
        lead: _Lead,
        start: int,
        stays: int,
    ) -> Tensor:
        """One pass over frames from number `start` on, of which the first `stays` enter the ring to stay; the last frame, fp32.

        `before` is the committed frame before that one.
        """
        device = latents[0].device
        positions = torch.arange(start, start + len(latents), device=device)
        places = memory.own.places(positions, torch.arange(len(latents), device=device) < stays)
        signal, step = torch.tensor(labels, device=device).T[:, None]
        committed = torch.full((1, 1), self.schedule.context_signal(self.objective.context_noise), device=device)
        incoming = Incoming(lead.action, lead.known, positions == 0, lead.reading, lead.reading_known)
        with self._precision(device):
            stacked = torch.stack(latents, dim=1)
            predicted = self._advance(stacked, signal, step, incoming, positions, places, memory, grid, before, committed)
        return predicted.float()

    def _noise(self, seed: int, frame: int, purpose: Purpose, grid: tuple[int, int], device: torch.device) -> Tensor:
        shape = (grid[0] * grid[1], self.model.latent_dim)
        return (self.objective.noise_mean + self.objective.noise_std * frame_noise(seed, frame, purpose, shape)).to(device)

    def _noises(self, seed: int, numbers: Tensor, purpose: Purpose, grid: tuple[int, int]) -> NDArray[np.float32]:
        return array(torch.stack([self._noise(seed, number, purpose, grid, numbers.device) for number in numbers.tolist()]))

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
