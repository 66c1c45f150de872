"""What a clip's frames are conditioned on: actions and proprioception, known or not, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from wm_core.world_model.normalisation import Statistics


@dataclass(frozen=True)
class Incoming:
    """Per frame, what leads into it: action (B, F, A), whether it is known (B, F), whether the frame is the first (F,) bool.

    proprioception (B, F, Q) and whether it is known (B, F), both of the frame itself; None where the model has no such token.
    """

    action: Tensor
    known: Tensor
    first: Tensor
    proprioception: Tensor | None = None
    proprioception_known: Tensor | None = None

    def at(self, positions: Tensor) -> Incoming:
        """The frames of these numbers (F',)."""
        taken = [None if part is None else part[:, positions] for part in (self.proprioception, self.proprioception_known)]
        return Incoming(self.action[:, positions], self.known[:, positions], self.first[positions], *taken)


@dataclass(frozen=True)
class Conditioning:
    """A clip's own record: actions[:, t] (B, T, A) is applied after frame t and leads into frame t + 1.

    known (B, T) bool; proprioception (B, T, Q) and proprioception_known (B, T). Values that are not known are not read. The network takes
    normalised ones.
    """

    actions: Tensor
    known: Tensor
    proprioception: Tensor | None = None
    proprioception_known: Tensor | None = None

    def normalised(self, statistics: Mapping[str, Statistics], proprioception_dim: int) -> Conditioning:
        """Raw values as a world model takes them; one with a proprioception token is always told of it, be it that nothing is known."""
        actions = statistics["actions"].normalise(self.actions)
        if not proprioception_dim:
            return Conditioning(actions, self.known)
        if self.proprioception is None or self.proprioception_known is None:
            unknown = actions.new_zeros(*self.known.shape, proprioception_dim), torch.zeros_like(self.known)
            return Conditioning(actions, self.known, *unknown)
        return Conditioning(actions, self.known, statistics["proprioception"].normalise(self.proprioception), self.proprioception_known)

    def incoming(self) -> Incoming:
        """The same, seen from the frame that an action leads into; the first frame has none."""
        frames = self.actions.shape[1]
        first = torch.arange(frames, device=self.actions.device) == 0
        action = functional.pad(self.actions[:, :-1], (0, 0, 1, 0))
        known = functional.pad(self.known[:, :-1], (1, 0), value=False)
        return Incoming(action, known, first, self.proprioception, self.proprioception_known)

    def rows(self, which: slice | Tensor) -> Conditioning:
        """Some of the clips, or all in another order (B,) int64."""
        parts = (self.actions, self.known, self.proprioception, self.proprioception_known)
        return Conditioning(*(None if part is None else part[which] for part in parts))  # type: ignore[arg-type]

    def to(self, device: torch.device) -> Conditioning:
        """The same on another device."""
        parts = (self.actions, self.known, self.proprioception, self.proprioception_known)
        return Conditioning(*(None if part is None else part.to(device) for part in parts))  # type: ignore[arg-type]

    def dropped(self, actions: float, proprioception: float, generator: torch.Generator) -> Conditioning:
        """With this share of known actions hidden, and this share of clips losing proprioception from a random frame on."""
        shape, device = self.known.shape, self.known.device
        kept = (torch.rand(shape, generator=generator, device=generator.device) >= actions).to(device)
        result = replace(self, known=self.known & kept)
        if self.proprioception_known is None:
            return result
        loses = torch.rand(shape[0], generator=generator, device=generator.device) < proprioception
        end = torch.randint(0, shape[1], (shape[0],), generator=generator, device=generator.device)
        frame = torch.arange(shape[1], device=generator.device)
        seen = (~loses[:, None] | (frame < end[:, None])).to(device)
        return replace(result, proprioception_known=self.proprioception_known & seen)
