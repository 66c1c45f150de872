"""How large the numbers in a model's layers become on clips that it follows: what its products in bytes are scaled by."""

from __future__ import annotations

from collections.abc import Callable

import torch

from wm_core.data.skips import Skip
from wm_core.evaluation.held_out import HeldOut, Request
from wm_core.evaluation.imagined import recorded
from wm_core.evaluation.sets import TokenSet
from wm_core.world_model import byte_ranges
from wm_core.world_model.onnx_nodes import Ranges
from wm_core.world_model.world_model import WorldModel

CLIPS = 32  # of held-out episodes, each followed with its own actions and with those of some others
OTHERS = 7
CONTEXT, HORIZON = 8, 5
STEPS = (1, 4)


def ranges_on(model: WorldModel, tokens: TokenSet, fps: float, seed: int, skipped: Callable[[Skip], None]) -> Ranges:
    """On held-out clips of one set, on every grid, with few and many sampling steps."""
    clips = tokens.clips(Request(CLIPS, CONTEXT, HORIZON, fps, seed), skipped)
    return byte_ranges.merged([_followed(model, clips, grid, steps) for grid in model.grids for steps in STEPS])


def _followed(model: WorldModel, clips: HeldOut, grid: tuple[int, int], steps: int) -> Ranges:
    contexts, followed, own = [], [], recorded(clips).actions[:, 0]
    for index in range(len(clips)):
        one = clips.part(slice(index, index + 1))
        seen = model.pooled(one.latents[:, : one.context], grid)
        contexts.append(model.context(seen, one.seen(model.proprioception), grid=grid))
        followed.append(torch.roll(own, -index, dims=0)[: OTHERS + 1])
    return model.measured_ranges(contexts, followed, steps)
