"""Recipe: self-distillation without labels. A student learns to say of a masked view what its slow copy says of the whole one."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from wm_core.training.encoder_config import DistilledTraining
from wm_core.training.recipe import FrameStatistics
from wm_core.vision.tokens import Tokens

CENTRE_MOMENTUM = 0.9


class ProjectionHead(nn.Module):
    """Tokens -> logits over prototypes: an MLP, a unit vector, cosines to unit prototypes."""

    def __init__(self, dim: int, prototypes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.prototypes = nn.Parameter(torch.randn(prototypes, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        unit = nn.functional.normalize(self.mlp(tokens), dim=-1)
        return unit @ nn.functional.normalize(self.prototypes, dim=-1).T


class SelfDistillation(nn.Module):
    """loss = DINO (CLS of one view against CLS of the other) + iBOT (masked patches against the teacher's patches of the same view).

    Both are KL(teacher, student): the gradient of their cross-entropy, on a scale where 0 means that they agree.

    The camera is fixed and position is what the tokens are for, so views differ in light and masks, never in where things are.
    """

    centres: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, config: DistilledTraining, size: int, statistics: FrameStatistics) -> None:
        super().__init__()
        self.config = config
        self.student = config.network.build(size)
        self.heads = nn.ModuleList(ProjectionHead(config.network.dim, config.prototypes) for _ in range(2))
        self.mask_token = nn.Parameter(torch.zeros(config.network.dim))
        self.backbone = copy.deepcopy(self.student).requires_grad_(False)
        self.teacher_heads = copy.deepcopy(self.heads).requires_grad_(False)
        self.register_buffer("centres", torch.zeros(2, config.prototypes))
        self.register_buffer("mean", torch.tensor(statistics.mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(statistics.std).reshape(3, 1, 1))

    def loss(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        views = torch.cat([self._jittered(frames, generator), self._jittered(frames, generator)])
        embedded = self.student.embed(views)
        masked = (torch.rand(embedded.shape[:2], generator=generator) < self.config.masked_share).to(embedded.device)
        said = self.student.mix(torch.where(masked[..., None], self.mask_token + self.student.places, embedded))
        cls_target, patch_target = self._taught(views)
        swapped = cls_target.roll(len(frames), dims=0)
        of_cls = self._divergence(swapped, self.heads[0](said.cls)).mean()
        of_patches = self._divergence(patch_target, self.heads[1](said.patches))
        return of_cls + (of_patches * masked).sum() / masked.sum().clamp_min(1)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """The teacher follows the student, ever more slowly."""
        momentum = 1.0 - (1.0 - self.config.teacher_momentum) * 0.5 * (1.0 + math.cos(math.pi * progress))
        pairs = ((self.backbone, self.student), (self.teacher_heads, self.heads))
        for follower, leader in pairs:
            for slow, fast in zip(follower.parameters(), leader.parameters(), strict=True):
                slow.lerp_(fast, 1.0 - momentum)

    @torch.no_grad()
    def _taught(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's probabilities, centred so that no prototype takes all, for CLS (B, K) and patches (B, P, K)."""
        tokens: Tokens = self.backbone(views)
        targets = []
        for index, logits in enumerate((self.teacher_heads[0](tokens.cls), self.teacher_heads[1](tokens.patches))):
            targets.append(((logits - self.centres[index]) / self.config.teacher_temperature).softmax(dim=-1))
            self.centres[index].lerp_(logits.flatten(0, -2).mean(dim=0), 1.0 - CENTRE_MOMENTUM)
        return targets[0], targets[1]

    def _divergence(self, target: Tensor, logits: Tensor) -> Tensor:
        said = (logits / self.config.student_temperature).log_softmax(dim=-1)
        return (target * (target.clamp_min(1e-12).log() - said)).sum(dim=-1)

    def _jittered(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        """Brightness and contrast per picture and colour, then normalised."""
        draws = self.config.jitter * (2.0 * torch.rand(2, len(frames), 3, 1, 1, generator=generator).to(frames.device) - 1.0)
        pixels = (frames.float() / 255.0 - self.mean) / self.std
        return pixels * (1.0 + draws[0]) + draws[1]
