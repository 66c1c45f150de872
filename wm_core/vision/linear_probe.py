"""Linear probes: how well a ridge regression reads positions, in metres, from a frozen grid of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wm_core.errors import VisionError

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class LinearProbe:
    """positions = (tokens - centre) / scale @ weights + offset, with the token grid (P, D) flattened: mean-pooling destroys position."""

    centre: Tensor  # (P * D,)
    scale: float
    weights: Tensor  # (P * D, K), float64
    offset: Tensor  # (K,)
    strength: float

    def __call__(self, tokens: Tensor) -> Tensor:
        """Tokens (N, P, D) -> (N, K) in the unit of what the probe was fitted to."""
        return _scaled(tokens, self.centre, self.scale) @ self.weights + self.offset


def fit_probe(tokens: Tensor, targets: Tensor, episodes: Tensor, strengths: Sequence[float] = STRENGTHS) -> LinearProbe:
    """Ridge regression from tokens (N, P, D) to targets (N, K).

    The strength, relative to the mean squared feature summed over frames, is the one that does best on every fifth of the `episodes`
    (N,), on which a first fit is not made; the probe returned is fitted to all of them.
    """
    if not len(tokens) == len(targets) == len(episodes):
        sizes = f"{len(tokens)}, {len(targets)}, {len(episodes)}"
        raise VisionError("tokens, targets and episodes differ in length", got=sizes, allowed="one of each per frame")
    known = torch.unique(episodes)
    if len(known) < 2:
        raise VisionError("a probe cannot choose its strength", got=f"{len(known)} episodes", allowed="at least 2")
    apart = torch.isin(episodes, known[:: min(5, len(known))])
    errors = []
    for probe in _fits(tokens[~apart], targets[~apart], strengths):
        errors.append(float((probe(tokens[apart]) - targets[apart].double()).square().mean()))
    best = strengths[errors.index(min(errors))]
    return _fits(tokens, targets, [best])[0]


def distances(probe: LinearProbe, tokens: Tensor, positions: Tensor) -> Tensor:
    """Euclidean errors (N, K / 3) of a probe fitted to K / 3 points, given positions (N, K / 3, 3)."""
    return (probe(tokens).reshape(positions.shape) - positions.double()).norm(dim=-1)


def _scaled(tokens: Tensor, centre: Tensor, scale: float) -> Tensor:
    return (tokens.flatten(1).double() - centre) / scale


def _fits(tokens: Tensor, targets: Tensor, strengths: Sequence[float]) -> list[LinearProbe]:
    """One probe per strength, through whichever Gram matrix is the smaller one."""
    centre = tokens.flatten(1).double().mean(dim=0)
    scale = float((tokens.flatten(1).double() - centre).square().mean().sqrt().clamp_min(1e-12))
    features, offset = _scaled(tokens, centre, scale), targets.double().mean(dim=0)
    wide = features.shape[1] > features.shape[0]
    gram = features @ features.T if wide else features.T @ features
    right = targets.double() - offset if wide else features.T @ (targets.double() - offset)
    probes = []
    for strength in strengths:
        damped = gram + strength * len(features) * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        solved = torch.cholesky_solve(right, torch.linalg.cholesky(damped))
        probes.append(LinearProbe(centre, scale, features.T @ solved if wide else solved, offset, strength))
    return probes
