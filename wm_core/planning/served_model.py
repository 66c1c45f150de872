"""A checkpoint is tried out before it serves, and before it takes the place of one that does."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

import torch

from wm_core.errors import CheckpointError, WmError
from wm_core.world_model import world_model
from wm_core.world_model.conditioning import Conditioning
from wm_core.world_model.engine_config import TORCH, EngineConfig
from wm_core.world_model.world_model import WorldModel

ABSURD = 10.0  # deviations of the latents; real frames are one from their mean, and the worst of futures stays within a few


class LoadCode(IntEnum):
    """How it went; the codes of LoadModel.srv."""

    SUCCESS = 0
    NOT_FOUND = 1
    INVALID = 2
    ENCODER_MISMATCH = 3
    SELF_CHECK_FAILED = 4
    NOT_READY = 5


class LoadError(CheckpointError):
    """A checkpoint that will not serve, and the code that says why."""

    def __init__(self, code: LoadCode, cause: WmError) -> None:
        super().__init__(cause.what, got=cause.got, allowed=cause.allowed, mend=cause.mend)
        self.code = code


def opened(
    folder: Path, device: torch.device, dtype: torch.dtype, engine: EngineConfig = TORCH, running: WorldModel | None = None
) -> WorldModel:
    """The checkpoint in `folder`, fit to take the place of `running`."""
    try:
        world_model.directory(folder)
    except WmError as error:
        raise LoadError(LoadCode.NOT_FOUND, error) from error
    try:
        model = WorldModel.open(folder, device, dtype=dtype, engine=engine)
    except WmError as error:
        raise LoadError(LoadCode.INVALID, error) from error
    if running is not None:
        try:
            model.require_encoder(running.provenance.encoder, running.provenance.encoder_hash)
        except WmError as error:
            raise LoadError(LoadCode.ENCODER_MISMATCH, error) from error
    try:
        _check(model, running)
    except WmError as error:
        raise LoadError(LoadCode.SELF_CHECK_FAILED, error) from error
    return model


def _check(model: WorldModel, running: WorldModel | None) -> None:
    """It tells its rate, has the rate and the sizes of the one before, and imagines nothing absurd on any of its grids."""
    if model.fps is None:
        raise CheckpointError("the checkpoint does not tell the rate of its frames", mend="use one that `wm train` wrote")
    if running is not None and _sizes(model) != _sizes(running):
        raise CheckpointError(
            "the checkpoint is for other latents, actions or steps than the one that serves", got=_sizes(model), allowed=_sizes(running)
        )
    draw, statistics = torch.Generator().manual_seed(0), model.statistics["latents"]
    for grid in model.grids:
        frames = statistics.mean.cpu() + statistics.std.cpu() * torch.randn(1, 2, grid[0] * grid[1], len(statistics.mean), generator=draw)
        still = torch.zeros(1, 2, model.config.model.action_dim)
        context = model.context(frames, Conditioning(still, torch.ones(1, 2, dtype=torch.bool)), 0, grid)
        imagined = model.imagine(context, still[:, None], (0,), 1)
        wrong = int((~torch.isfinite(imagined)).sum())
        if wrong:
            raise CheckpointError("the model imagines numbers that are not finite", got=f"{wrong} on the grid {grid[0]} x {grid[1]}")
        away = float(model.normalised(imagined).square().mean().sqrt())
        if away > ABSURD:
            got = f"{away:.3g} deviations away from all that was seen, on the grid {grid[0]} x {grid[1]}"
            raise CheckpointError("the model imagines what cannot be", got=got, allowed=f"at most {ABSURD:g}", mend="train it again")


def _sizes(model: WorldModel) -> str:
    sizes = model.config.model
    return (
        f"{sizes.latent_dim} channels on {sizes.grids[0][0]} x {sizes.grids[0][1]}, {sizes.action_dim} numbers an action, {model.fps:g} Hz"
    )
