"""Recipe: a convolutional autoencoder. Each cell is rebuilt from its own token, so the token has to say where in the cell things are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wm_core.training.encoder_config import ConvolutionalTraining
from wm_core.training.recipe import FrameStatistics, Reconstruction
from wm_core.vision.decoder import cut


class ConvolutionalAutoencoder(nn.Module):
    """loss = mean(w (decoder(token) - target)^2) over all pixels of all cells."""

    def __init__(self, config: ConvolutionalTraining, size: int, statistics: FrameStatistics) -> None:
        super().__init__()
        self.backbone = config.network.build(size)
        self.reconstruction = Reconstruction(statistics, config.emphasis)
        self.cell = size // self.backbone.grid[0]
        width = config.decoder_width
        self.decoder = nn.Sequential(nn.Linear(self.backbone.dim, width), nn.GELU(), nn.Linear(width, 3 * self.cell**2))

    def loss(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        target, weights = self.reconstruction.target(frames)
        rebuilt = self.decoder(self.backbone(self.reconstruction.pixels(frames)).patches)
        return (cut(weights.expand_as(target), self.cell) * (rebuilt - cut(target, self.cell)).square()).mean()

    def after_step(self, progress: float) -> None:
        """Nothing follows a step."""
