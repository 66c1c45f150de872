"""Pictures of an evaluation: lines over the horizon with their 90 % intervals, and model cost against real cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wm_core.evaluation.action_response import ActionResponse
from wm_core.evaluation.bootstrap import Estimate
from wm_core.evaluation.calibration import CalibrationResult
from wm_core.evaluation.plan_rank import PlanRank, ranks
from wm_core.evaluation.results import Evaluation
from wm_core.evaluation.state_probe import StateErrors

MODEL, COPY, TRUE, BASELINE = "tab:orange", "tab:grey", "tab:green", "tab:purple"
SHOWN_STARTS = 4


def draw_errors(evaluation: Evaluation, path: Path) -> None:
    """Latent error of the model, of copying, and of the baseline; and all of them in units of copying's."""
    figure, (absolute, relative) = new_figure(1, 2)
    known, hidden, baseline = evaluation.labelled, evaluation.unlabelled, evaluation.baseline
    _line(absolute, known.copy, COPY, "last frame seen, held still")
    _line(absolute, known.model, MODEL, f"model, mean of {known.seeds} futures")
    _line(absolute, known.single, MODEL, "model, one future", dashed=True)
    _line(relative, known.ratio, MODEL, "model, actions known")
    _line(relative, hidden.ratio, "tab:blue", "model, actions hidden")
    if baseline is not None:
        _line(absolute, baseline.model, BASELINE, "teacher-forced baseline")
        _line(relative, baseline.ratio, BASELINE, "teacher-forced baseline")
    relative.axhline(1.0, color=COPY, lw=1.0, ls=":")
    _finish(absolute, "mean squared error, normalised latents", bottom=0.0)
    _finish(relative, "error / error of copying", bottom=0.0)
    save(figure, path)


def draw_actions(response: ActionResponse, path: Path) -> None:
    """What actions change, by horizon."""
    figure, (errors, deviation) = new_figure(1, 2)
    _line(errors, response.gain, MODEL, "another clip's actions")
    _line(errors, response.null, "tab:blue", "unknown actions")
    errors.axhline(1.0, color=COPY, lw=1.0, ls=":")
    _line(deviation, response.deviation, MODEL, "imagined / real")
    deviation.axhline(1.0, color=COPY, lw=1.0, ls=":")
    _finish(errors, "error / error with the true actions", bottom=0.0)
    _finish(deviation, "change that actions cause, imagined / real", bottom=0.0)
    save(figure, path)


def draw_calibration(result: CalibrationResult, path: Path) -> None:
    """Coverage of the bands over the horizon, on held-out and on shifted episodes."""
    figure, (axis,) = new_figure(1, 1)
    axis.axhline(result.calibration.coverage, color=COPY, lw=1.0, ls=":", label="what the bands say")
    _line(axis, result.test.share, MODEL, "held-out episodes")
    for coverage, colour in zip(result.shifted, ("tab:blue", "tab:red", "tab:purple", "tab:brown", "tab:pink"), strict=False):
        _line(axis, coverage.share, colour, coverage.name, shade=False)
    _finish(axis, "share of clips within the band", bottom=0.0)
    axis.set_ylim(0.0, 1.02)
    save(figure, path)


def draw_states(states: StateErrors, path: Path) -> None:
    """What probes read from imagined frames, one panel for each quantity that more than one horizon tells of."""
    counts = Counter(error.quantity for error in states.errors)
    quantities = [quantity for quantity, count in counts.items() if count > 1] or list(counts)
    figure, axes = _panels(len(quantities))
    for axis, quantity in zip(axes, quantities, strict=True):
        here = [error for error in states.errors if error.quantity == quantity]
        horizons = [error.horizon for error in here]
        _line(axis, [error.copied for error in here], COPY, "last frame seen", horizons)
        _line(axis, [error.imagined for error in here], MODEL, "imagined frame", horizons)
        _line(axis, [error.true for error in here], TRUE, "true frame", horizons)
        _finish(axis, f"median error of {quantity}", bottom=0.0)
    save(figure, path)


def draw_plan_rank(rank: PlanRank, path: Path) -> None:
    """Some starts, candidate by candidate: the order by the model against where the tool really ended; the chosen one is marked."""
    order = sorted(rank.starts, key=lambda start: start.metric_correlation)
    shown = [order[index] for index in np.unique(np.linspace(0, len(order) - 1, min(SHOWN_STARTS, len(order))).astype(int))]
    figure, axes = _panels(len(shown))
    for axis, start in zip(axes, shown, strict=True):
        place = ranks(np.array(start.model_cost)) + 1.0
        distances = np.array(start.distance_cm)
        axis.plot(place, distances, "o", ms=3.5, color=MODEL, alpha=0.7)
        axis.plot(place.min(), start.chosen_cm, "*", ms=12, color="tab:red", label="chosen")
        axis.axhline(distances.min(), color=TRUE, lw=1.0, ls=":", label="best candidate")
        axis.set_title(f"correlation {start.metric_correlation:.2f}", fontsize=9)
        _finish(axis, "tool from goal, cm", bottom=0.0, across="place in the model's order")
    save(figure, path)


def new_figure(rows: int, columns: int) -> tuple[Any, Any]:
    """A figure without a window, and its axes in one row after the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(4.4 * columns, 6.0), 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, np.ravel(figure.subplots(rows, columns, squeeze=False))


def _panels(count: int) -> tuple[Any, Any]:
    """So many axes, at most three beside one another; those that the last row has too many are not drawn."""
    columns = 2 if count in (2, 4) else min(3, count)
    figure, axes = new_figure(-(-count // columns), columns)
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes[:count]


def _line(
    axis: Any,
    estimates: Sequence[Estimate],
    colour: str,
    label: str,
    horizons: Sequence[int] | None = None,
    dashed: bool = False,
    shade: bool = True,
) -> None:
    """Estimates over the horizon, at 1, 2, ... unless told otherwise."""
    across = list(horizons or range(1, len(estimates) + 1))
    axis.plot(across, [one.value for one in estimates], "--" if dashed else "-o", color=colour, lw=1.4, ms=3.0, label=label)
    if shade and not dashed:
        axis.fill_between(across, [one.low for one in estimates], [one.high for one in estimates], color=colour, alpha=0.18, lw=0.0)


def _finish(axis: Any, up: str, bottom: float, across: str = "frames ahead") -> None:
    axis.set_xlabel(across, fontsize=9)
    axis.set_ylabel(up, fontsize=9)
    axis.set_ylim(bottom=bottom)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)


def save(figure: Any, path: Path) -> None:
    """Write the figure as a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
