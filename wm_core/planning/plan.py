"""A plan: steps of the model, and the shorter steps of control that they are carried out in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wm_core.errors import PlanningError
from wm_core.robot.rotation import Array


@dataclass(frozen=True)
class Plan:
    """Actions (H, 7) in base_link: m and rad per step of the model, opening; and how they were judged.

    cost is the weighted sum of `terms`; `reviewed` says whether it comes from the careful look; `seconds` is how long the search took;
    `retreats`: it is the way back to the nearest place seen, as nothing was imagined to be worth leaving that; `uncertainty`: spread of
    the distance at its end over noise seeds, as a share of the distance at the start, None without the careful look; `careful` (s) is what
    that look takes, as far as is known.
    """

    actions: Array
    cost: float
    terms: dict[str, float]
    reviewed: bool
    iterations: int
    samples: int
    seconds: float
    retreats: bool = False
    uncertainty: float | None = None
    careful: float | None = None

    def controls(self, chunk: int) -> Array:
        """The same motion in `chunk` equal steps of control for each step of the model: (H * chunk, 7)."""
        return controls(self.actions, chunk)


def controls(actions: Array, chunk: int) -> Array:
    """Actions (H, 7) as (H * chunk, 7): a rotation vector divides evenly, the opening is asked for at once."""
    if chunk < 1:
        raise PlanningError("a step of the model has no step of control", got=chunk, allowed="at least 1", mend="control.rate")
    shares = np.concatenate([np.full(6, 1.0 / chunk), [1.0]])
    return np.repeat(actions * shares, chunk, axis=0)


def rest(actions: Array, steps: float) -> Array:
    """What is left of a plan (H, 7) after `steps` of its steps, as a guess for the next: the last step is stillness.

    A share of a step is cut from the step that is under way; the deltas of the guess are blended from neighbours.
    """
    whole, share = int(steps), float(steps) - int(steps)
    still = np.zeros(7)
    still[6] = actions[-1, 6]
    padded = np.concatenate([actions, np.tile(still, (whole + 2, 1))])
    now, after = padded[whole : whole + len(actions)], padded[whole + 1 : whole + 1 + len(actions)]
    blended = (1.0 - share) * now + share * after
    blended[:, 6] = now[:, 6]
    return blended
