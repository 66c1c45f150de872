"""The block-causal transformer: layers within frames and across frames in turn, over all frames at once or over a cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from wm_core.world_model.attention import Attend, across_frames, within_frames
from wm_core.world_model.block import Block
from wm_core.world_model.cache import Memory
from wm_core.world_model.conditioning import Conditioning, Incoming
from wm_core.world_model.embedding import FrameEmbedding
from wm_core.world_model.first_guess import first_guess
from wm_core.world_model.layout import Layout
from wm_core.world_model.model_config import ModelConfig
from wm_core.world_model.rotary import Rotation, plane_rotation, time_rotation

Grid = tuple[int, int]
TimeAttention = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class Transformer(nn.Module):
    """Predicts the clean latents (B, F, P, D) of noised frames."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = FrameEmbedding(config)
        sizes = (config.heads, config.kv_heads, config.mlp_hidden, config.soft_cap)
        self.blocks = nn.ModuleList(Block(config.dim, *sizes, depth=config.layers) for _ in range(config.layers))
        self.head = WideHead(config) if config.head_layers else LinearHead(config)
        self.time_layers = [index for index in range(config.layers) if config.is_time_layer(index)]

    def forward(
        self, noised: Tensor, signal: Tensor, step: Tensor, conditioning: Conditioning, layout: Layout, grid: Grid | None = None
    ) -> Tensor:
        """The clean latents of the frames from layout.first_output on; noised (B, F, P, D), labels (B, F), conditioning of T frames."""
        grid = grid or self.config.grids[0]
        incoming = conditioning.incoming().at(layout.positions)

        def attend(_: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            visible = layout.visible if layout.visible is None else layout.visible[-query.shape[1] :]
            return across_frames(query, key, value, visible)

        corrections = self._run(noised, signal, step, incoming, layout, grid, attend)
        return self._corrected(corrections, noised, signal, layout)

    def prefill(
        self, noised: Tensor, signal: Tensor, step: Tensor, conditioning: Conditioning, layout: Layout, grid: Grid
    ) -> list[tuple[Tensor, Tensor]]:
        """The keys and values (B, F, S, KV, hd) that each time layer computes for all frames."""
        kept: list[tuple[Tensor, Tensor]] = []

        def attend(_: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            kept.append((key, value))
            return across_frames(query, key, value, layout.visible)

        self._run(noised, signal, step, conditioning.incoming().at(layout.positions), layout, grid, attend)
        return kept

    def advance(
        self,
        noised: Tensor,
        signal: Tensor,
        step: Tensor,
        incoming: Incoming,
        positions: Tensor,
        places: Tensor,
        memory: Memory,
        grid: Grid,
        before: Tensor,
        signal_before: Tensor,
    ) -> Tensor:
        """One pass over a cache: noised (B, F, P, D) at frame numbers (F,) that go to places (F,) of it; the last frame (B, P, D).

        With two frames the first is committed while the second, the next, is denoised: one pass does both. `before` (B, P, D) is the
        committed frame that comes before the last one, with its label (1, 1).
        """
        memory.own.occupy(positions, places)
        layout = Layout(positions, positions - positions[:1] - 1, None, first_output=len(positions) - 1)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            return memory.attend(layer, query, key, value, positions, places)

        corrections = self._run(noised, signal, step, incoming, layout, grid, attend)
        return self._guessed(corrections, noised[:, -1:], signal[:, -1:], before[:, None], signal_before, positions[-1:] > 0)[:, 0]

    def _run(
        self, noised: Tensor, signal: Tensor, step: Tensor, incoming: Incoming, layout: Layout, grid: Grid, attend: TimeAttention
    ) -> Tensor:
        x = self.embedding(noised, signal, step, incoming, grid)
        space, time = self._rotations(layout.positions, grid)
        for index, block in enumerate(self.blocks):
            if index in self.time_layers:
                last = index == self.time_layers[-1]  # from there on no frame sees another
                x = block(x, time, partial(attend, self.time_layers.index(index)), layout.first_output if last else 0)
            else:
                x = block(x, space, within_frames)
        return self.head(x, noised[:, layout.first_output :], grid)

    def _corrected(self, corrections: Tensor, noised: Tensor, signal: Tensor, layout: Layout) -> Tensor:
        """The frames that are predicted: what was guessed of each, corrected."""
        if not self.config.change:
            return corrections
        asked, before = slice(layout.first_output, None), layout.before[layout.first_output :]
        rows = before.clamp_min(0)
        return self._guessed(corrections, noised[:, asked], signal[:, asked], noised[:, rows], signal[:, rows], before >= 0)

    def _guessed(self, corrections: Tensor, noised: Tensor, signal: Tensor, before: Tensor, signal_before: Tensor, known: Tensor) -> Tensor:
        if not self.config.change:
            return corrections
        tau, tau_before = (label.to(noised) / self.config.finest_steps for label in (signal, signal_before))
        return corrections.to(noised) + first_guess(noised, tau, before, tau_before, known, self.config.change)

    def _rotations(self, positions: Tensor, grid: Grid) -> tuple[Rotation, Rotation]:
        width = self.config.dim // self.config.heads
        plane = plane_rotation(grid, self.embedding.before, self.embedding.after, width, positions.device)
        cos, sin = time_rotation(positions, width)
        return (plane[0][:, None], plane[1][:, None]), (cos[:, None, None], sin[:, None, None])


class LinearHead(nn.Module):
    """Latent tokens of the transformer (B, F, S, dim) to latents (B, F, P, D)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.first = config.registers
        self.norm = nn.RMSNorm(config.dim, eps=1e-6)
        self.out = nn.Linear(config.dim, config.latent_dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, noised: Tensor, grid: Grid) -> Tensor:
        return self.out(self.norm(x[:, :, self.first : self.first + noised.shape[2]]))


class WideHead(nn.Module):
    """A shallow wide transformer within the frame: wide latent tokens do not pass through the narrow trunk, only their condition does."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.head_dim
        self.first, self.head_dim = config.registers, width // config.heads
        self.norm = nn.RMSNorm(config.dim, eps=1e-6)
        self.condition = nn.Linear(config.dim, width)
        self.latents = nn.Linear(config.latent_dim, width)
        sizes = (config.heads, config.kv_heads, 2 * width, config.soft_cap)
        self.blocks = nn.ModuleList(Block(width, *sizes, depth=config.head_layers) for _ in range(config.head_layers))
        self.norm_out = nn.RMSNorm(width, eps=1e-6)
        self.out = nn.Linear(width, config.latent_dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, noised: Tensor, grid: Grid) -> Tensor:
        tokens = x[:, :, self.first : self.first + noised.shape[2]]
        wide = self.condition(self.norm(tokens)) + self.latents(noised)
        cos, sin = plane_rotation(grid, 0, 0, self.head_dim, noised.device)
        attend: Attend = within_frames
        for block in self.blocks:
            wide = block(wide, (cos[:, None], sin[:, None]), attend)
        return self.out(self.norm_out(wide))


def parameters(module: nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters())
