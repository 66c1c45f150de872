"""Everything that an evaluation found."""

from __future__ import annotations

from dataclasses import dataclass

from wm_core.evaluation.action_response import ActionResponse
from wm_core.evaluation.calibration import CalibrationResult
from wm_core.evaluation.latent_error import LatentError
from wm_core.evaluation.plan_rank import PlanRank
from wm_core.evaluation.sampling_steps import SamplingSteps
from wm_core.evaluation.state_probe import StateErrors
from wm_core.evaluation.verdict import Verdict


@dataclass(frozen=True)
class Shortened:
    """Clips of a dataset reach so many frames ahead, and not as many as were asked for.

    That would need episodes of `rows_needed` rows; half of those that there are have at most `rows`.
    """

    dataset: str
    measured: str
    asked: int
    reached: int
    rows_needed: int
    rows: int


@dataclass(frozen=True)
class Evaluation:
    """As evaluation.json holds it.

    checkpoint: name of its directory; weights: hash of those that were evaluated; labelled and unlabelled: held-out clips with known and
    with hidden actions; baseline: a teacher-forced model on the labelled ones; plan_rank: one for each token grid; strips: names of
    pictures; skipped: a line for each episode that could not be read; seconds: of wall time, by stage; shortened: where episodes are too
    short for a horizon that was asked for. None: not measured.
    """

    checkpoint: str
    step: int
    weights: str
    parameters: int
    encoder: str
    encoder_hash: str
    labelled: LatentError
    unlabelled: LatentError
    baseline: LatentError | None
    actions: ActionResponse
    sampling: SamplingSteps
    calibration: CalibrationResult | None
    states: StateErrors | None
    plan_rank: tuple[PlanRank, ...]
    strips: tuple[str, ...]
    verdict: Verdict
    skipped: tuple[str, ...]
    seconds: dict[str, float]
    shortened: tuple[Shortened, ...] = ()
