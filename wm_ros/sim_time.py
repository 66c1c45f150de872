"""When the embedded arm moves on, and by how much: with the wall clock, or in lock-step with its commands. Pure; time is passed in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wm_core.simulation.sim_config import SimConfig

# In real time the simulation catches up at most this much at once, s; what is beyond it is lost and counted as `behind`.
LONGEST_CATCH_UP = 0.1
# In lock-step, time waits for a commander that is silent for this long, s of wall clock; without one it runs in real time.
PATIENCE = 1.0


@dataclass(frozen=True)
class Piece:
    """A stretch of simulation of `steps` physics steps, and what is due at its end."""

    steps: int
    joint_states: bool
    transforms: bool
    images: bool


class SimTime:
    """The clock of one embedded arm. Every rate keeps its phase: due times are multiples of the period, never now + period."""

    def __init__(self, config: SimConfig) -> None:
        self.lock_step = config.mode == "lock_step"
        self.period = 1.0 / config.joint_state_rate
        self.behind = 0.0
        self._step = config.physics_step
        self._periods = (self.period, 1.0 / config.transform_rate, 1.0 / config.camera_rate)
        self._wall = self._heard = 0.0
        self._origin = self._elapsed = 0.0
        self._begin()

    def start(self, wall: float) -> None:
        """Begin now; in lock-step time runs by itself until somebody commands."""
        self._begin()
        self._wall = wall
        self._heard = wall - PATIENCE

    def restart(self, wall: float) -> None:
        """Begin anew after a reset of the arm; in lock-step time waits for a command, so that every run from here is the same."""
        self._begin()
        self._wall = self._heard = wall

    def _begin(self) -> None:
        """Due times count from here; simulated time itself never goes back."""
        self._origin += self._elapsed
        self._elapsed = self._end = 0.0
        self._steps = 0
        self._count = [0, 0, 0]

    def stamp(self, ros_now: float) -> float:
        """What to stamp messages with, s: simulated time in lock-step, else the ROS time that a piece still being caught up with had."""
        return self._origin + self._elapsed if self.lock_step else ros_now - (self._end - self._elapsed)

    def idle(self, wall: float) -> float:
        """How long to simulate because the wall clock says so, s."""
        elapsed, self._wall = wall - self._wall, wall
        if self.lock_step and wall - self._heard < PATIENCE:
            return 0.0
        used = min(elapsed, LONGEST_CATCH_UP)
        self.behind += elapsed - used
        return used

    def commanded(self, step: float, wall: float) -> float:
        """How long to simulate because a command for `step` seconds came, s."""
        self._heard = wall
        return step

    def pieces(self, duration: float) -> Iterator[Piece]:
        """Cut `duration` at the times at which something is due."""
        end = self._end = self._elapsed + duration
        while True:
            due = min((count + 1) * period for count, period in zip(self._count, self._periods, strict=True))
            self._elapsed = min(due, end)
            steps = int(self._elapsed / self._step + 1e-9) - self._steps
            self._steps += steps
            reached = [self._elapsed >= (count + 1) * period - 1e-9 for count, period in zip(self._count, self._periods, strict=True)]
            self._count = [count + 1 if hit else count for count, hit in zip(self._count, reached, strict=True)]
            yield Piece(steps, *reached)
            if self._elapsed >= end - 1e-9:
                return
