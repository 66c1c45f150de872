"""Recipe: a masked autoencoder (He et al.). The encoder sees a part of the patches; a light decoder rebuilds all of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wm_core.training.encoder_config import MaskedTraining
from wm_core.training.recipe import FrameStatistics, Reconstruction
from wm_core.vision.decoder import cut
from wm_core.vision.vit import Block, sine_places


class MaskedAutoencoder(nn.Module):
    """loss = weighted squared error, masked patches at weight 1, visible ones at `visible_weight`.

    Small things that move on their own cannot be guessed from their surroundings: what the visible patches are asked for keeps them.
    """

    places: Tensor

    def __init__(self, config: MaskedTraining, size: int, statistics: FrameStatistics) -> None:
        super().__init__()
        self.config = config
        self.backbone = config.network.build(size)
        self.reconstruction = Reconstruction(statistics, config.rarity)
        dim = config.decoder_dim
        self.enter = nn.Linear(self.backbone.dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.register_buffer("places", sine_places(self.backbone.grid, dim), persistent=False)
        self.blocks = nn.Sequential(*(Block(dim, config.network.heads) for _ in range(config.decoder_depth)))
        self.rebuild = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 3 * config.network.patch**2))

    def loss(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        embedded = self.backbone.embed(self.reconstruction.pixels(frames))
        batch, patches, dim = embedded.shape
        kept = max(1, round(patches * (1.0 - self.config.masked_share)))
        order = torch.rand(batch, patches, generator=generator).argsort(dim=1)[:, :kept].to(embedded.device)
        seen = self.enter(self.backbone.mix(embedded.gather(1, order[..., None].expand(-1, -1, dim))).patches)
        full = self.mask_token.expand(batch, patches, -1).scatter(1, order[..., None].expand(-1, -1, seen.shape[-1]), seen)
        rebuilt = self.rebuild(self.blocks(full + self.places))
        counts = torch.ones(batch, patches, device=embedded.device).scatter(1, order, self.config.visible_weight)
        target, weights = self.reconstruction.target(frames)
        patch = self.config.network.patch
        errors = (cut(weights.expand_as(target), patch) * (rebuilt - cut(target, patch)).square()).mean(dim=-1)
        return (counts * errors).sum() / counts.sum()

    def after_step(self, progress: float) -> None:
        """Nothing follows a step."""
