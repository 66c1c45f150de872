"""The configuration of the loop as a demonstration, as it stands in config/loop.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from wm_core.configuration import setting
from wm_core.simulation.scene import Scene


@dataclass(frozen=True)
class LoopRecording:
    """What is recorded in the changed scene."""

    episodes: int = setting("Episodes", low=5, high=10_000)
    seconds: float = setting("Length of an episode", unit="s", low=2.5, high=600.0)
    layout_every: int = setting("Episodes between two new layouts of the objects", low=1, high=1000)
    seed: int = setting("What every draw comes from", low=0, high=99_999)
    speed: float = setting("Share of the guard's speeds that motions stay below", low=0.1, high=1.0)


@dataclass(frozen=True)
class LoopOld:
    """What the model knows already."""

    episodes: int = setting("Episodes", low=10, high=100_000)
    frames: int = setting("Rows of an episode", low=25, high=100_000)
    seed: int = setting("What every draw comes from", low=0, high=99_999)


@dataclass(frozen=True)
class LoopTrials:
    """How success is measured."""

    count: int = setting("Tasks, the same before and after", low=1, high=10_000)
    seconds: float = setting("Length of a trial in simulated time", unit="s", low=0.1, high=600.0)
    seed: int = setting("What every task is drawn from", low=0, high=2**31 - 1)
    processes: int = setting("Processes that trials are divided among", low=1, high=256)


@dataclass(frozen=True)
class LoopConfig:
    """The whole loop."""

    scene: Scene = setting("How the world looks after the change, as in sim_arm.yaml")
    recording: LoopRecording = setting("What is recorded in the changed scene")
    old: LoopOld = setting("What the model knows already")
    trials: LoopTrials = setting("How success is measured")
