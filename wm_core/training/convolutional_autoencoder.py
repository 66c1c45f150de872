"""Recipe: a convolutional autoencoder. Each cell is rebuilt from its own token, so the token has to say where in the cell things are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from wm_core.training.encoder_config import ConvolutionalTraining
from wm_core.training.recipe import FrameStatistics, Reconstruction
from wm_core.vision.decoder import cut, joined

BLOCKS = (4, 12)  # pixels: the edges of the blocks over which the error is averaged


class ConvolutionalAutoencoder(nn.Module):
    """loss = mean(w (x' - x)^2) + distance * sum_b b mean(block_b(x' - x)^2) + price * mean(z^2), with x' = decoder(z + noise * n).

    The noise makes near tokens decode alike, so that distances between tokens mean distances between pictures. A thing one width off is
    as wrong in single pixels as one far off; averaged over blocks it is not.
    """

    def __init__(self, config: ConvolutionalTraining, size: int, statistics: FrameStatistics) -> None:
        super().__init__()
        self.narrowing = config.narrowing
        self.backbone = config.network.build(size)
        self.reconstruction = Reconstruction(statistics, config.rarity)
        self.cell = size // self.backbone.grid[0]
        width = config.decoder_width
        self.decoder = nn.Sequential(nn.Linear(self.backbone.dim, width), nn.GELU(), nn.Linear(width, 3 * self.cell**2))

    def loss(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        tokens = self.backbone(self.reconstruction.pixels(frames)).patches
        noise = torch.randn(tokens.shape, generator=generator).to(tokens.device)
        target, weights = self.reconstruction.target(frames)
        error = self.decoder(tokens + self.narrowing.noise * noise) - cut(target, self.cell)
        loss = (cut(weights.expand_as(target), self.cell) * error.square()).mean() + self.narrowing.price * tokens.square().mean()
        if self.narrowing.distance > 0.0:
            picture = joined(error, self.backbone.grid, self.cell)
            loss = loss + self.narrowing.distance * sum(block * avg_pool2d(picture, block).square().mean() for block in BLOCKS)
        return loss

    def after_step(self, progress: float) -> None:
        """Nothing follows a step."""
