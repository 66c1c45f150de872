"""Every number of a fine-tuning; config/finetune.yaml carries them."""

from __future__ import annotations

from dataclasses import dataclass

from wm_core.configuration import setting
from wm_core.device import DEVICES
from wm_core.errors import ConfigurationError
from wm_core.evaluation.evaluate_config import CalibrationConfig, ErrorConfig, StepsConfig
from wm_core.evaluation.verdict import Bars


@dataclass(frozen=True)
class TuningSet:
    """One labelled dataset."""

    root: str = setting("directory of the dataset")
    description: str = setting("YAML that says what its columns mean, relative to the fine-tuning's own YAML")
    weight: float = setting("share among the sets of its kind", low=0.0, high=1e6, default=1.0)
    tool_state: bool = setting("whether its states begin with the commanded tool's pose and opening (7 numbers)", default=True)


@dataclass(frozen=True)
class TuningData:
    """What is learned, what is not to be forgotten, and how both are read."""

    new: tuple[TuningSet, ...] = setting("sets to learn from; each has root and description, and may have weight and tool_state")
    old: tuple[TuningSet, ...] = setting("sets of what the model knows, replayed among the new ones; may be empty")
    reference: tuple[TuningSet, ...] = setting(
        "sets of what the model knows that are never trained on; empty: the episodes of old that are held out"
    )
    old_share: float = setting("share of old clips among all clips", low=0.0, high=0.95)
    held_out: float = setting("share of the episodes of each new and old set that is judged on and not trained on", low=0.02, high=0.9)
    encoder: str = setting("the frozen encoder of the checkpoint: a name or the path of its weights")
    cache: str = setting("directory under which the latents of whole datasets are kept")
    cache_bits: int = setting("bits of one kept number, 8 or 16", low=8, high=16, default=8)
    workers: int = setting("processes that read clips; 0: the training process itself", low=0, high=256, default=0)

    def __post_init__(self) -> None:
        if not self.new:
            raise ConfigurationError("there is nothing new to learn from", got="no set under data.new", mend="--new DIR, or data.new")
        if not (self.old or self.reference):
            what, mend = "nothing tells what the model would forget", "--old DIR (e.g. a set that `wm collect` makes), or data.reference"
            raise ConfigurationError(what, got="no set under data.old, none under data.reference", mend=mend)
        if bool(self.old) != (self.old_share > 0.0):
            got = f"data.old_share: {self.old_share:g} with {len(self.old)} old sets"
            raise ConfigurationError("share and sets of old clips disagree", got=got, mend="data.old_share=0, or give old sets")


@dataclass(frozen=True)
class TuningRun:
    """How long and how fast; everything else is as the checkpoint was trained."""

    steps: int = setting("training steps", low=1, high=10_000_000)
    batch: int = setting("clips of one step", low=1, high=65_536)
    learning_rate_share: float = setting(
        "learning rate after the warm-up, as a share of that of the checkpoint's own training", low=0.0, high=1.0
    )
    warmup_steps: int = setting("steps over which the learning rate rises from 0", low=0, high=1_000_000)
    final_fraction: float = setting("share of the learning rate that is left at the last step", low=0.0, high=1.0)
    ema_decay: float = setting("decay of the averaged weights per training step", low=0.0, high=0.999999)
    seed: int = setting("what every draw comes from", low=0, high=2**31 - 1, default=0)
    device: str = setting("where the network runs; auto: a GPU where there is one", choices=DEVICES, default="auto")
    threads: int = setting("threads of the process; 0: as many as torch likes", low=0, high=1024, default=0)


@dataclass(frozen=True)
class MonitorConfig:
    """What is measured while it trains: the error on held-out clips, half of the held-out episodes; the verdict rests on the others."""

    every: int = setting("training steps between two measurements", low=1, high=1_000_000)
    worsening: float = setting("error on old clips, in units of that before, above which training stops", low=1.0, high=100.0)
    clips: int = setting("clips of each kind", low=2, high=100_000)
    context: int = setting("frames that are seen", low=2, high=1024)
    horizon: int = setting("frames that are imagined", low=1, high=1024)
    seeds: int = setting("futures that are averaged", low=1, high=64)


@dataclass(frozen=True)
class OfferConfig:
    """When the new checkpoint is offered; errors are those of the same clips, compared clip by clip, with 90 % intervals over episodes."""

    new_at_most: float = setting("upper end of the interval of the error on new clips, in units of that before", low=0.0, high=10.0)
    old_at_most: float = setting("upper end of the interval of the error on old clips, in units of that before", low=0.0, high=10.0)
    clips: int = setting("clips of each kind", low=8, high=100_000)


@dataclass(frozen=True)
class FinetuneConfig:
    """A fine-tuning of a world model; config/finetune.yaml is the one that ships."""

    data: TuningData = setting("what is learned, and what is not to be forgotten")
    run: TuningRun = setting("how long and how fast")
    monitor: MonitorConfig = setting("the forgetting monitor")
    offer: OfferConfig = setting("when the new checkpoint is offered")
    error: ErrorConfig = setting("the verdict's latent error")
    sampling: StepsConfig = setting("the verdict's numbers of sampling steps")
    calibration: CalibrationConfig = setting("the verdict's conformal bands")
    bars: Bars = setting("what a model must reach to be planned with")
