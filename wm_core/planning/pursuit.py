"""Whether a goal is being reached: told by the latent distance alone, as a share of what it was at the start."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from wm_core.configuration import setting
from wm_core.errors import ConfigurationError


@dataclass(frozen=True)
class PursuitConfig:
    """When a goal counts as reached, and when it is given up."""

    tolerance: float = setting("Share of the distance at the start at which the goal counts as reached", low=0.0, high=1.0, live=True)
    hysteresis: float = setting("Factor on the tolerance below which a frame still counts as there", low=1.0, high=10.0, live=True)
    settle: int = setting(
        "Frames in a row within the tolerance; twice as many where the arm is not at the nearest place", low=1, high=1000, live=True
    )
    progress: float = setting("Share of the distance at the start that counts as progress", low=0.0, high=1.0, live=True)
    patience: float = setting("Time without progress after which the goal is given up", unit="s", low=0.1, high=3600.0, live=True)
    timeout: float = setting("Time after which the goal is given up", unit="s", low=0.1, high=3600.0, live=True)
    near: float = setting(
        "Distance that counts as reached in any case, in squares of a latent's deviation", low=0.0, high=1e3, default=0.0, live=True
    )

    def __post_init__(self) -> None:
        if self.patience > self.timeout:
            raise ConfigurationError("patience outlasts the timeout", got=self.patience, allowed=f"at most {self.timeout}", mend="patience")


class Outcome(IntEnum):
    """What a frame says of the pursuit."""

    RUNNING = 0
    REACHED = 1
    NO_PROGRESS = 2
    TIMED_OUT = 3


@dataclass(frozen=True)
class Pursuit:
    """One goal: the distance and time (s) at its start, how near it came and when, and for how many frames it has been there."""

    start: float
    began: float
    nearest: float
    progressed: float
    within: int = 0
    share: float = 1.0


def begin(distance: float, now: float) -> Pursuit:
    """A goal accepted at `now`, `distance` away."""
    return Pursuit(distance, now, distance, now)


def follow(config: PursuitConfig, pursuit: Pursuit, distance: float, now: float, rests: bool = True) -> tuple[Pursuit, Outcome]:
    """One more frame.

    A frame is there when its distance is within the tolerance; once one was, the next may be `hysteresis` times farther. `rests`: the arm
    is at the nearest place that it has seen.
    """
    share = distance / max(pursuit.start, 1e-12)
    allowed = max(config.tolerance * pursuit.start, config.near) * (config.hysteresis if pursuit.within else 1.0)
    within = pursuit.within + 1 if distance <= allowed else 0
    nearer = distance <= pursuit.nearest - config.progress * pursuit.start
    pursuit = replace(pursuit, share=share, within=within)
    if nearer or within:
        pursuit = replace(pursuit, nearest=min(distance, pursuit.nearest), progressed=now)
    if within >= config.settle * (1 if rests else 2):
        return pursuit, Outcome.REACHED
    if now - pursuit.began >= config.timeout:
        return pursuit, Outcome.TIMED_OUT
    return pursuit, Outcome.NO_PROGRESS if now - pursuit.progressed >= config.patience else Outcome.RUNNING
