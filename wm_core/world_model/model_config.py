"""Every number of the world model and of its objective; config/world_model_*.yaml carry them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wm_core.configuration import setting
from wm_core.errors import ConfigurationError


@dataclass(frozen=True)
class ModelConfig:
    """The block-causal transformer. One frame is [registers | latent tokens | shortcut token | action token | proprioception token].

    The last three may be one token, their sum.
    """

    latent_dim: int = setting("channels of a latent token", low=1, high=4096)
    grids: tuple[tuple[int, int], ...] = setting(
        "token grids (rows, columns); the encoder's own first, then the pooled ones", low=1, high=64
    )
    dim: int = setting("width of the transformer", low=8, high=4096)
    layers: int = setting("layers, of space and of time together", low=1, high=96)
    time_every: int = setting("one layer in this many attends across time, the others within a frame", low=2, high=16)
    heads: int = setting("attention heads", low=1, high=64)
    kv_heads: int = setting("heads of keys and values, each shared by heads / kv_heads queries", low=1, high=64)
    mlp_hidden: int = setting("hidden width of the gated MLP", low=8, high=16384)
    registers: int = setting("learned tokens per frame without content of their own", low=0, high=64)
    soft_cap: float = setting("bound that attention logits approach smoothly; 0: none", low=0.0, high=200.0)
    context: int = setting("frames that a frame may look back on, itself among them", low=2, high=1024)
    finest_steps: int = setting("sampling steps of the finest step size, a power of two", low=2, high=1024)
    action_dim: int = setting("numbers in one action", low=1, high=64)
    action_hidden: int = setting("hidden width of the action embedding", low=1, high=4096)
    proprioception_dim: int = setting("numbers in one proprioception reading; 0: no such token", low=0, high=256, default=0)
    change: float = setting(
        "variance of a normalised latent's change in one frame, for the first guess that the head corrects; 0: no guess",
        low=0.0,
        high=10.0,
        default=0.0,
    )
    merged: bool = setting("labels, action and proprioception of a frame are one token, their sum, and not one each", default=False)
    head_layers: int = setting("layers of the wide head on top; 0: a linear head", low=0, high=8, default=0)
    head_dim: int = setting("width of the wide head", low=8, high=8192, default=2048)

    def __post_init__(self) -> None:
        power = self.finest_steps & (self.finest_steps - 1) == 0
        _require(power, "finest_steps", self.finest_steps, "a power of two")
        _require(self.heads % self.kv_heads == 0, "kv_heads", self.kv_heads, f"a divisor of heads = {self.heads}")
        _require(self.dim % (4 * self.heads) == 0, "dim", self.dim, f"a multiple of 4 x heads = {4 * self.heads}")
        _require(self.head_dim % (4 * self.heads) == 0, "head_dim", self.head_dim, f"a multiple of 4 x heads = {4 * self.heads}")
        _require(self.time_every <= self.layers, "time_every", self.time_every, f"at most layers = {self.layers}")
        _require(bool(self.grids), "grids", self.grids, "at least one grid")
        rows, columns = self.grids[0]
        coarser = all(grid[0] <= rows and grid[1] <= columns for grid in self.grids)
        _require(coarser, "grids", self.grids, f"no grid finer than the first, {rows} x {columns}")

    def is_time_layer(self, index: int) -> bool:
        """Early in each group of `time_every`, after a space layer and before the others.

        A frame's tokens learn its labels and its action from the space layer, and so what to look for in other frames; what follows
        the last time layer works on the frame that is asked for alone.
        """
        return index % self.time_every == max(1, (self.time_every - 1) // 2)


@dataclass(frozen=True)
class ObjectiveConfig:
    """How frames are noised, what is predicted, and how it is sampled."""

    kind: str = setting("shortcut forcing, or the teacher-forced prediction without noise", choices=("shortcut", "deterministic"))
    sampling_steps: int = setting("steps K of sampling a frame, a power of two", low=1, high=1024)
    context_noise: float = setting("share of noise in context frames", low=0.0, high=0.5)
    single_step: str = setting(
        "a frame sampled in one step is one draw of what may come, or the mean of it", choices=("draw", "mean"), default="draw"
    )
    noise_mean: float = setting("mean of the noise", low=-10.0, high=10.0, default=0.0)
    noise_std: float = setting("standard deviation of the noise", low=0.0, high=10.0, default=1.0)
    tau_min: float = setting("lower end of the signal level's draw", low=0.0, high=1.0, default=0.0)
    tau_max: float = setting("upper end of the signal level's draw", low=0.0, high=1.0, default=1.0)
    tau_distribution: str = setting("shape of the signal level's draw", choices=("uniform", "power", "logit_normal"), default="uniform")
    tau_power: float = setting("bias of the draw toward clean for power and logit_normal; 1: none", low=0.1, high=20.0, default=1.0)
    unbiased_fraction: float = setting("share of frames whose signal level is drawn without bias", low=0.1, high=1.0, default=0.1)
    step_distribution: str = setting("how the step size is drawn", choices=("mostly_finest", "uniform"), default="mostly_finest")
    bootstrap_fraction: float = setting("share of frames that learn a coarse step from two finer ones", low=0.0, high=1.0, default=0.25)
    bootstrap_rows: float = setting("share of a batch's clips that those frames are drawn in", low=0.05, high=1.0, default=1.0)
    bootstrap_start: int = setting("training step from which coarse steps are learned", low=0, high=100_000_000, default=0)
    inference_fraction: float = setting("share of batches with exactly the pattern of inference", low=0.25, high=1.0, default=0.25)
    inference_tau_power: float = setting("bias of that pattern's signal levels; below 1 toward noise", low=0.1, high=20.0, default=1.0)
    action_dropout: float = setting("share of known actions that are hidden", low=0.0, high=0.9, default=0.0)
    proprioception_dropout: float = setting("share of clips that lose proprioception from some frame on", low=0.0, high=1.0, default=0.5)
    ema_decay: float = setting("decay of the averaged weights per training step", low=0.0, high=0.999999, default=0.999)

    def __post_init__(self) -> None:
        _require(self.tau_min < self.tau_max, "tau_min", self.tau_min, f"below tau_max = {self.tau_max}")
        power = self.sampling_steps & (self.sampling_steps - 1) == 0
        _require(power, "sampling_steps", self.sampling_steps, "a power of two")

    def resolved(self) -> ObjectiveConfig:
        """Itself; the deterministic objective is the one-step model whose noise is zero and whose context is clean."""
        if self.kind == "shortcut":
            return self
        return replace(self, sampling_steps=1, single_step="draw", context_noise=0.0, noise_mean=0.0, noise_std=0.0, inference_fraction=1.0)

    def steps_for(self, asked: int | None) -> int:
        """K where `asked` is wanted (None: its own); the deterministic model learned one step and the labels of no other."""
        return 1 if self.kind == "deterministic" else asked or self.sampling_steps


@dataclass(frozen=True)
class WorldModelConfig:
    """A world model; config/world_model_embedded.yaml and config/world_model_full.yaml are the ones that ship."""

    model: ModelConfig = setting("the transformer")
    objective: ObjectiveConfig = setting("what it is trained for")

    def __post_init__(self) -> None:
        finest = self.model.finest_steps
        _require(self.objective.sampling_steps <= finest, "objective.sampling_steps", self.objective.sampling_steps, f"1 .. {finest}")
        coarse = self.objective.single_step == "draw" or finest >= 4
        _require(coarse, "model.finest_steps", finest, "4 and more where objective.single_step is mean, so that there is a coarse step")


def _require(right: bool, key: str, got: object, allowed: str) -> None:
    if not right:
        raise ConfigurationError(f"'{key}' of the world model is not valid", got=got, allowed=allowed, mend=f"change '{key}'")
