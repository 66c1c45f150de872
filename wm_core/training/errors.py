"""The errors of training: what stopped it, at which step, and on which clips."""

from __future__ import annotations

from wm_core.errors import WmError


class TrainingError(WmError):
    """A training that cannot begin or go on."""


class DivergenceError(TrainingError):
    """A loss or gradient that is not finite; the weights are those of the step before, and no checkpoint is touched."""

    def __init__(self, step: int, loss: float, gradient: float, clips: tuple[str, ...]) -> None:
        self.step, self.clips = step, clips
        super().__init__(
            f"training diverged at step {step}",
            got=f"loss {loss}, gradient norm {gradient}, clips {', '.join(clips)}",
            allowed="finite numbers",
            mend="inspect these clips; else lower optimiser.learning_rate, and go on from the last checkpoint",
        )
