"""A way whose end is known: what is imagined of it, less what was seen there, is what the model is wrong by near that place.

Near a goal a model errs by more than the goal is away: along the camera's view the last two centimetres change the tokens by less. The
error is much the same for all that leads to nearly the same place, so it is measured where the truth is known, and taken off everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wm_core.robot.rotation import Array


@dataclass(frozen=True)
class Witness:
    """Actions (H, 7) that have arrived with step `arrived`, counted from 0, where (P, D) was seen, as the encoder gives it."""

    way: Array
    arrived: int
    seen: Tensor

    def wrong(self, imagined: Tensor) -> Tensor:
        """What imagined frames (H, P, D) of the way are wrong by, (H, P, D); steps before it has arrived are taken for the one that has."""
        off = imagined - self.seen.to(imagined.device)
        off[: self.arrived] = off[self.arrived].clone()
        return off
