"""What imagined frames know for certain: where their actions put the tool, by dead reckoning from the last reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wm_core.world_model.model_config import ModelConfig
from wm_core.world_model.normalisation import Statistics

READING = 7  # numbers of a reading: position (m), rotation vector (rad), opening 0..1; and of an action: their deltas, and the opening


@dataclass(frozen=True)
class Reckoning:
    """Readings and actions are normalised on the outside; these statistics say what they are in metres and radians."""

    actions: Statistics
    proprioception: Statistics

    def ahead(self, reading: Tensor, actions: Tensor) -> Tensor:
        """The readings (B, H, 7) that actions (B, H, 7) lead to from a reading (B, 7): positions add up, rotations are composed."""
        now, deltas = self.proprioception.denormalise(reading).double(), self.actions.denormalise(actions).double()
        position = now[:, None, :3] + deltas[..., :3].cumsum(1)
        turned, turns = _quaternion(now[:, 3:6]), []
        for delta in _quaternion(deltas[..., 3:6]).unbind(1):
            turned = _product(delta, turned)
            turns.append(_vector(turned))
        reached = torch.cat([position, torch.stack(turns, dim=1), deltas[..., 6:]], dim=-1)
        return self.proprioception.normalise(reached)


def reckoning_of(model: ModelConfig, statistics: Mapping[str, Statistics]) -> Reckoning | None:
    """The reckoning of a model that is told of the tool; None for one that is told nothing, or of other things."""
    if model.proprioception_dim != READING or model.action_dim != READING or "proprioception" not in statistics:
        return None
    return Reckoning(statistics["actions"], statistics["proprioception"])


def _quaternion(vector: Tensor) -> Tensor:
    """Unit quaternions (..., 4), real part first, of rotation vectors (..., 3)."""
    half = vector.norm(dim=-1, keepdim=True) / 2.0
    return torch.cat([half.cos(), vector / 2.0 * torch.sinc(half / torch.pi)], dim=-1)


def _vector(quaternion: Tensor) -> Tensor:
    """The rotation vector (..., 3) of at most half a turn."""
    quaternion = torch.where(quaternion[..., :1] < 0.0, -quaternion, quaternion)
    sine = quaternion[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2.0 * torch.atan2(sine, quaternion[..., :1])
    return quaternion[..., 1:] * torch.where(sine > 1e-12, angle / sine.clamp_min(1e-12), 2.0)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Turning by `right`, then by `left`."""
    real = left[..., :1] * right[..., :1] - (left[..., 1:] * right[..., 1:]).sum(-1, keepdim=True)
    rest = left[..., :1] * right[..., 1:] + right[..., :1] * left[..., 1:] + torch.linalg.cross(left[..., 1:], right[..., 1:])
    return torch.cat([real, rest], dim=-1)
