"""Every number of an evaluation; config/evaluate.yaml carries them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from wm_core.configuration import setting
from wm_core.data.clip import Preprocessing
from wm_core.device import DEVICES, PRECISIONS, torch_device
from wm_core.errors import ConfigurationError
from wm_core.evaluation.plan_rank import PlanRankConfig
from wm_core.evaluation.state_probe import StateProbeConfig
from wm_core.evaluation.strip import StripConfig
from wm_core.evaluation.verdict import Bars
from wm_core.simulation.scene import Scene


@dataclass(frozen=True)
class SetConfig:
    """One dataset that no training saw, or the episodes of one that training kept back."""

    root: str = setting("directory of the dataset; empty: none", default="")
    description: str = setting("YAML that says what its columns mean, relative to this file", default="")
    held_out: float = setting("share of its episodes that training kept back; 0: training saw none of it", low=0.0, high=0.9, default=0.0)
    seed: int = setting("seed of the mixture that kept them back", low=0, high=2**31 - 1, default=0)
    tool_state: bool = setting("whether its state begins with the tool's position, turn and opening, as in training", default=False)


@dataclass(frozen=True)
class ShiftedConfig:
    """Datasets of a world that looks otherwise, one folder per scene; `wm collect` makes them with the embedded arm."""

    root: str = setting("directory that holds one dataset per scene; empty: none", default="")
    description: str = setting("YAML that says what their columns mean, relative to this file", default="")
    tool_state: bool = setting("whether their state begins with the tool's position, turn and opening", default=False)
    episodes: int = setting("episodes of each when they are collected", low=1, high=100_000, default=40)
    scenes: dict[str, Scene] = setting("the scenes by name, as in sim_arm.yaml; what is left out is as it was in training", default={})


@dataclass(frozen=True)
class EvaluationData:
    """Where held-out clips come from."""

    labelled: SetConfig = setting("held-out episodes with known actions")
    encoder: str = setting("the frozen encoder of the checkpoint: a name, or the path of a YAML, a folder or an ONNX file")
    cache: str = setting("directory under which the latents of whole datasets are kept")
    fps: float = setting("frames per second of a clip; 0: as the checkpoint was trained", unit="Hz", low=0.0, high=240.0, default=0.0)
    unlabelled: SetConfig = setting("held-out episodes without; empty: the labelled ones with every action hidden", default=SetConfig())
    shifted: ShiftedConfig = setting("datasets that look otherwise", default=ShiftedConfig())
    camera: str = setting("role of the camera; empty: the first of the description", default="")
    cache_bits: int = setting("bits of one kept number, 8 or 16", low=8, high=16, default=8)
    preprocessing: Preprocessing = setting("the size that pictures are brought to", default=Preprocessing())


@dataclass(frozen=True)
class ErrorConfig:
    """Latent error, and the response to actions."""

    clips: int = setting("labelled clips, and as many unlabelled ones", low=8, high=100_000, default=64)
    context: int = setting("frames that are seen", low=2, high=1024, default=8)
    horizon: int = setting("frames that are imagined, if the episodes are long enough", low=1, high=1024, default=20)
    seeds: int = setting("futures that are averaged", low=2, high=64, default=8)
    response_horizon: int = setting("frames that are imagined with other actions", low=1, high=1024, default=10)
    response_seeds: int = setting("futures that are averaged there", low=1, high=64, default=4)
    unlabelled_seeds: int = setting("futures that are averaged where no action is known", low=1, high=64, default=8)


@dataclass(frozen=True)
class StepsConfig:
    """Numbers of sampling steps against one another."""

    steps: tuple[int, ...] = setting(
        "numbers of sampling steps K, powers of two; the largest is what others are held against; bars.four_steps needs one above 4",
        low=1,
        high=1024,
    )
    clips: int = setting("clips", low=4, high=100_000, default=24)
    horizon: int = setting("frames that are imagined", low=1, high=1024, default=10)
    seeds: int = setting("futures that are averaged", low=1, high=64, default=8)
    grid: int = setting("which of the model's token grids; 0: the encoder's own", low=0, high=16, default=0)


@dataclass(frozen=True)
class CalibrationConfig:
    """Conformal bands, for futures as a planner draws them."""

    clips: int = setting("calibration clips, and as many test clips of other episodes", low=20, high=1_000_000, default=1000)
    shifted_clips: int = setting("clips of each shifted dataset", low=8, high=100_000, default=120)
    context: int = setting("frames that are seen", low=2, high=1024, default=6)
    horizon: int = setting("frames that are imagined", low=1, high=1024, default=10)
    seeds: int = setting("futures per clip; their deviation is the spread", low=2, high=64, default=2)
    steps: int = setting("sampling steps K", low=1, high=1024, default=1)
    grid: int = setting("which of the model's token grids, from the end; 1: the coarsest", low=1, high=16, default=1)
    coverage: float = setting("share of futures that a band is to hold", low=0.5, high=0.99, default=0.9)


@dataclass(frozen=True)
class EvaluateConfig:
    """An evaluation of a world model."""

    data: EvaluationData = setting("where held-out clips come from")
    error: ErrorConfig = setting("latent error, and the response to actions")
    sampling: StepsConfig = setting("numbers of sampling steps against one another")
    calibration: CalibrationConfig = setting("conformal bands")
    bars: Bars = setting("what a model must reach to be planned with")
    states: StateProbeConfig | None = setting("what linear probes read from imagined frames; left out: none", default=None)
    plan_rank: PlanRankConfig | None = setting(
        "whether the model puts plans of the embedded arm in order; left out: not asked", default=None
    )
    strips: StripConfig | None = setting("pictures of imagined frames; left out: none", default=None)
    baseline: str = setting("a teacher-forced checkpoint for the same encoder, to compare with; empty: none", default="")
    seed: int = setting("what every draw of clips comes from", low=0, high=2**31 - 1, default=0)
    threads: int = setting("threads of the process; 0: as many as torch likes", low=0, high=1024, default=0)
    device: str = setting("where encoder and models run; auto: a GPU where there is one", choices=DEVICES, default="auto")
    precision: str = setting(
        "numbers that the models compute in; the encoder computes in float32, as for training", choices=tuple(PRECISIONS), default="fp32"
    )

    def __post_init__(self) -> None:
        wrong = [steps for steps in self.sampling.steps if steps & (steps - 1)]
        if wrong or len(set(self.sampling.steps)) < 2:
            raise ConfigurationError("'sampling.steps' compares nothing", got=self.sampling.steps, allowed="two or more powers of two")

    def torch_device(self) -> torch.device:
        """The device there is."""
        return torch_device(self.device)

    def torch_precision(self) -> torch.dtype:
        """The type of the models' numbers."""
        return PRECISIONS[self.precision]
