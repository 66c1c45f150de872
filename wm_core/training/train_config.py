"""Every number of a training; config/train_*.yaml carry them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from wm_core import configuration
from wm_core.configuration import setting
from wm_core.data.augment import AugmentConfig
from wm_core.data.clip import ClipRequest, Preprocessing
from wm_core.data.mixture import MixtureConfig
from wm_core.device import DEVICES
from wm_core.errors import ConfigurationError
from wm_core.training.overrides import overridden
from wm_core.world_model.model_config import ModelConfig, ObjectiveConfig, WorldModelConfig


@dataclass(frozen=True)
class SourceConfig:
    """One dataset of the mixture."""

    root: str = setting("directory of the dataset")
    description: str = setting("YAML that says what its columns mean, relative to the training's own YAML")
    labelled: bool = setting("whether its actions are shown to the model")
    weight: float = setting("share among the sources of its kind", low=0.0, high=1e6, default=1.0)
    tool_state: bool = setting("whether its states begin with the commanded tool's pose and opening (7 numbers)", default=False)


@dataclass(frozen=True)
class DataConfig:
    """Where clips come from and what they look like."""

    sources: tuple[SourceConfig, ...] = setting("the datasets; each has root, description, labelled and weight, and may have tool_state")
    encoder: str = setting("the frozen encoder that turns pictures into latents: a name, or the path of a YAML, a folder or an ONNX file")
    cache: str = setting("directory under which the latents of whole datasets are kept")
    clip: ClipRequest = setting("how long a clip is, and its rate")
    cache_bits: int = setting("bits of one kept number, 8 or 16", low=8, high=16, default=8)
    workers: int = setting("processes that read clips; 0: the training process itself", low=0, high=256, default=0)
    statistics_batches: int = setting("batches from which the normalisation is measured", low=1, high=100_000, default=64)
    preprocessing: Preprocessing = setting("the size that pictures are brought to", default=Preprocessing())
    mixture: MixtureConfig = setting("how the datasets are mixed", default=MixtureConfig())
    augmentation: AugmentConfig = setting("pictures of training changed in colour and place", default=AugmentConfig())


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW, or Muon beside it, with a linear warm-up and a cosine decay."""

    kind: str = setting(
        "adamw; or muon for the matrices inside the layers and AdamW for the rest", choices=("adamw", "muon"), default="adamw"
    )
    learning_rate: float = setting("learning rate after the warm-up", low=0.0, high=1.0, default=1e-4)
    beta1: float = setting("decay of the mean gradient", low=0.0, high=0.9999, default=0.9)
    beta2: float = setting("decay of the mean squared gradient", low=0.0, high=0.99999, default=0.95)
    momentum: float = setting("decay of muon's mean gradient", low=0.0, high=0.9999, default=0.95)
    weight_decay: float = setting("decay of the matrices; norms, biases and embeddings have none", low=0.0, high=10.0, default=0.1)
    clip: float = setting("largest norm of a gradient; a longer one is shortened to it", low=1e-6, high=1e6, default=1.0)
    warmup_steps: int = setting("steps over which the learning rate rises from 0", low=0, high=10_000_000, default=1000)
    final_fraction: float = setting("share of the learning rate that is left at the last step", low=0.0, high=1.0, default=0.05)


@dataclass(frozen=True)
class Stage:
    """What holds from a step on until the next stage; what is left out is as the objective says."""

    from_step: int = setting("first step of the stage", low=0, high=100_000_000)
    frames: tuple[int, ...] = setting("lengths that clips are cut to, drawn anew for every batch", low=2, high=4096)
    horizon: int = setting("frames that the rollout loss imagines; 0: no such loss", low=0, high=256, default=0)
    tau_min: float | None = setting("lower end of the signal level's draw in forcing batches", low=0.0, high=1.0, default=None)
    tau_max: float | None = setting("upper end of the signal level's draw in forcing batches", low=0.0, high=1.0, default=None)
    tau_power: float | None = setting("bias of that draw toward clean", low=0.1, high=20.0, default=None)
    bootstrap_factor: float = setting("times as many frames learn a coarse step", low=0.0, high=100.0, default=1.0)

    def __post_init__(self) -> None:
        if not self.frames or self.horizon >= min(self.frames):
            allowed = "at least one length, each above the horizon"
            raise ConfigurationError(f"the stage from step {self.from_step} has no clip to train on", got=self.frames, allowed=allowed)


@dataclass(frozen=True)
class RunConfig:
    """How long, on what, and what is written."""

    steps: int = setting("training steps", low=1, high=100_000_000)
    batch: int = setting("clips that one process takes at once", low=1, high=65_536)
    global_batch: int = setting("clips of one step, over all processes; a multiple of batch x processes", low=1, high=1_048_576)
    seed: int = setting("what every draw comes from", low=0, high=2**31 - 1, default=0)
    device: str = setting("where the network runs; auto: a GPU where there is one", choices=DEVICES, default="auto")
    precision: str = setting(
        "numbers of the student's passes; auto: bf16 where the machine computes in it", choices=("auto", "bf16", "fp32"), default="auto"
    )
    strategy: str = setting(
        "with several processes: each has all weights (ddp), or a share of them (fsdp)", choices=("ddp", "fsdp"), default="ddp"
    )
    threads: int = setting("threads of one process; 0: as many as torch likes", low=0, high=1024, default=0)
    log_every: int = setting("steps between two lines of metrics", low=1, high=1_000_000, default=50)
    checkpoint_every: int = setting("steps between two checkpoints", low=1, high=10_000_000, default=1000)
    keep: int = setting("checkpoints that are kept, the newest ones", low=1, high=10_000, default=3)


@dataclass(frozen=True)
class TrainConfig:
    """A training of the world model; config/train_embedded.yaml and config/train_full.yaml are the ones that ship."""

    model: ModelConfig = setting("the transformer")
    objective: ObjectiveConfig = setting("what it is trained for")
    data: DataConfig = setting("where clips come from")
    run: RunConfig = setting("how long, on what, and what is written")
    curriculum: tuple[Stage, ...] = setting(
        "stages in order; each has from_step, frames, and may have horizon, tau_min, tau_max, tau_power, bootstrap_factor"
    )
    optimiser: OptimiserConfig = setting("the optimiser and its schedule", default=OptimiserConfig())
    rollout_weight: float = setting("weight of the rollout loss in the stages that have a horizon", low=0.0, high=100.0, default=1.0)
    rollout_steps: tuple[int, ...] = setting(
        "sampling steps K of the frames that the rollout loss imagines, drawn anew for every batch; none: the objective's",
        low=1,
        high=1024,
        default=(),
    )

    def __post_init__(self) -> None:
        starts = [stage.from_step for stage in self.curriculum]
        if not starts or starts[0] != 0 or any(later <= earlier for earlier, later in pairwise(starts)):
            raise ConfigurationError("the stages of the curriculum are not in order", got=starts, allowed="from_step: 0, then growing")
        longest = max(max(stage.frames) for stage in self.curriculum)
        if longest > self.data.clip.frames:
            allowed = f"at most data.clip's {self.data.clip.frames}"
            raise ConfigurationError("the curriculum asks for clips longer than are read", got=f"{longest} frames", allowed=allowed)
        if self.objective.resolved().inference_fraction >= 1.0:
            _require_no_levels(self.curriculum)
        finest = self.model.finest_steps
        if any(steps > finest or steps & (steps - 1) for steps in self.rollout_steps):
            allowed = f"powers of two, 1 .. {finest}"
            raise ConfigurationError("a frame cannot be sampled so", got=self.rollout_steps, allowed=allowed, mend="rollout_steps")
        if self.run.strategy == "fsdp" and any(stage.horizon for stage in self.curriculum):
            mend = "set the horizons to 0, or run.strategy: ddp"
            raise ConfigurationError("the rollout loss imagines with whole weights", got="run.strategy: fsdp", allowed="ddp", mend=mend)
        if self.run.strategy == "fsdp" and self.optimiser.kind == "muon":
            mend = "set optimiser.kind: adamw, or run.strategy: ddp"
            raise ConfigurationError("muon turns whole matrices", got="run.strategy: fsdp", allowed="ddp", mend=mend)

    @property
    def world_model(self) -> WorldModelConfig:
        return WorldModelConfig(self.model, self.objective)

    def accumulation(self, processes: int) -> int:
        """Batches that one process takes for one step."""
        count, rest = divmod(self.run.global_batch, self.run.batch * processes)
        if rest or not count:
            raise ConfigurationError(
                "'run.global_batch' cannot be shared out",
                got=f"{self.run.global_batch} clips over {processes} processes of {self.run.batch}",
                allowed=f"multiples of {self.run.batch * processes}",
                mend="change run.global_batch or run.batch",
            )
        return count


def _require_no_levels(curriculum: Sequence[Stage]) -> None:
    """Where every batch has the pattern of inference, none is drawn as these settings of a stage say."""
    names = ("tau_min", "tau_max", "tau_power")
    given = [f"{name} from step {stage.from_step}" for stage in curriculum for name in names if getattr(stage, name) is not None]
    if given:
        raise ConfigurationError(
            "no batch is drawn with the signal levels of the curriculum",
            got=", ".join(given),
            allowed="objective.kind: shortcut with objective.inference_fraction below 1",
            mend="leave them out (objective.inference_tau_power is what the pattern of inference is drawn with), or have other batches too",
        )


def read(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Defaults, then the file, then the command line's `a.b=value`, where value is YAML."""
    return overridden(configuration.read(TrainConfig, path), overrides)


def record(config: TrainConfig) -> dict[str, Any]:
    """For a JSON file; `configuration.build` reads it back."""
    return dataclasses.asdict(config)
