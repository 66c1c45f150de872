"""Whether a model's futures follow from the actions it is given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.evaluation import bootstrap
from wm_core.evaluation.bootstrap import Estimate
from wm_core.evaluation.held_out import HeldOut
from wm_core.evaluation.imagined import ClipErrors, Draw, Sequences, recorded, still, swapped, unknown


@dataclass(frozen=True)
class ActionResponse:
    """At h = 1 .. H (index h - 1) and, as `_overall`, summed over them; the same noise everywhere; 90 % intervals over episodes.

    gain: error with the actions of another clip / with the true ones; 1 means that actions are ignored.
    null: error with unknown actions / with the true ones; it shows what knowing them is worth, and that not knowing does no worse harm.
    deviation: squared distance of the imagined future from that of standing still / the real one's from the last seen frame; 1 is right, 0
    means that actions move nothing.
    """

    clips: int
    episodes: int
    seeds: int
    steps: int
    gain: tuple[Estimate, ...]
    null: tuple[Estimate, ...]
    deviation: tuple[Estimate, ...]
    gain_overall: Estimate
    null_overall: Estimate
    deviation_overall: Estimate


def sequences(clips: HeldOut, seed: int) -> Sequences:
    """What a response is measured with: true actions first, then another clip's, none, and unknown ones."""
    return recorded(clips).and_also(swapped(clips, seed)).and_also(still(clips)).and_also(unknown(clips))


def action_response(errors: ClipErrors, draw: Draw) -> ActionResponse:
    """From the errors of `sequences`."""
    true, other, null = errors.model[:, 0], errors.model[:, 1], errors.model[:, 3]
    moved, episodes = errors.apart[:, 2], errors.episodes
    return ActionResponse(
        clips=len(episodes),
        episodes=len(np.unique(episodes)),
        seeds=draw.seeds,
        steps=draw.steps,
        gain=bootstrap.ratios(other, true, episodes),
        null=bootstrap.ratios(null, true, episodes),
        deviation=bootstrap.ratios(moved, errors.copy, episodes),
        gain_overall=bootstrap.ratio(other.sum(1), true.sum(1), episodes),
        null_overall=bootstrap.ratio(null.sum(1), true.sum(1), episodes),
        deviation_overall=bootstrap.ratio(moved.sum(1), errors.copy.sum(1), episodes),
    )
