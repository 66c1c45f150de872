"""The settings of a rollout server, config/world_model.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from wm_core.configuration import setting
from wm_core.device import DEVICES, PRECISIONS
from wm_core.world_model.engine_config import EngineConfig


@dataclass(frozen=True)
class RolloutConfig:
    """Everything of the node world_model."""

    world_model: str = setting("Folder of the world model's checkpoint; empty: the embedded one that ships")
    decoder: str = setting("Folder of a decoder that draws what is imagined; empty: the embedded one for the embedded model, else none")
    device: str = setting("Where the model runs; auto: a GPU where there is one", choices=DEVICES)
    precision: str = setting("Numbers it computes in", choices=tuple(PRECISIONS))
    engine: EngineConfig = setting("What computes the imagined frames")
    threads: int = setting("CPU threads, 0: as many as torch likes", low=0, high=256)
    frames: int = setting("Newest frames of a context, one step of the model apart; a request may ask for fewer", low=1, high=1024)
    wait: float = setting("Time that a request waits for a frame that is on its way", unit="s", low=0.0, high=10.0)
    largest: int = setting("Frames that one request may have imagined: samples times horizon times seeds", low=1, high=10_000_000)
    opening: float = setting("Opening of a gripper that was never commanded, 0 closed, 1 open", low=0.0, high=1.0)
    shown: int = setting("Steps of standing still that are shown on ~/imagined while nothing else was asked for", low=1, high=64)
    period: float = setting("Time between two pictures on ~/imagined", unit="s", low=0.05, high=60.0)
