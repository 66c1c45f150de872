"""How far imagined latents are from real ones, against holding still the last frame that was seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.evaluation import bootstrap
from wm_core.evaluation.bootstrap import Estimate
from wm_core.evaluation.imagined import ClipErrors, Draw, Grid


@dataclass(frozen=True)
class LatentError:
    """Mean squared errors in normalised latents at h = 1 .. H (index h - 1), with 90 % intervals over episodes.

    model: the mean of `seeds` futures; single: one of them; copy: the last seen frame; ratio: model / copy.
    """

    clips: int
    episodes: int
    context: int
    seeds: int
    steps: int
    grid: Grid
    model: tuple[Estimate, ...]
    single: tuple[Estimate, ...]
    copy: tuple[Estimate, ...]
    ratio: tuple[Estimate, ...]


def latent_error(errors: ClipErrors, draw: Draw, context: int) -> LatentError:
    """Of the clips' first sequence of actions."""
    model, episodes = errors.model[:, 0], errors.episodes
    return LatentError(
        clips=len(episodes),
        episodes=len(np.unique(episodes)),
        context=context,
        seeds=draw.seeds,
        steps=draw.steps,
        grid=draw.grid,
        model=bootstrap.means(model, episodes),
        single=bootstrap.means(errors.single[:, 0], episodes),
        copy=bootstrap.means(errors.copy, episodes),
        ratio=bootstrap.ratios(model, errors.copy, episodes),
    )
