"""The page of an evaluation: the verdict first, then what it rests on, in Markdown with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wm_core.evaluation import plots
from wm_core.evaluation.action_response import ActionResponse
from wm_core.evaluation.bootstrap import Estimate
from wm_core.evaluation.calibration import CalibrationResult
from wm_core.evaluation.latent_error import LatentError
from wm_core.evaluation.plan_rank import PlanRank
from wm_core.evaluation.results import Evaluation, Shortened
from wm_core.evaluation.sampling_steps import SamplingSteps
from wm_core.evaluation.state_probe import StateErrors
from wm_core.evaluation.verdict import Rule, Verdict

FILE = "evaluation.md"
TOLD = (1, 5, 10, 20)  # horizons that tables name


def write(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write evaluation.md and its pictures into `folder`; the strips named in the evaluation lie there already."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _draw(evaluation, folder)
    page = folder / FILE
    page.write_text(markdown(evaluation), encoding="utf-8")
    return [page, *pictures]


def markdown(evaluation: Evaluation) -> str:
    """The page; it names its pictures as `write` calls them."""
    sections = [
        _verdict(evaluation.verdict, evaluation),
        _shortened(evaluation.shortened),
        _errors(evaluation.labelled, evaluation.unlabelled, evaluation.baseline),
        _actions(evaluation.actions),
        _sampling(evaluation.sampling),
        _calibration(evaluation.calibration) if evaluation.calibration else [],
        _states(evaluation.states) if evaluation.states else [],
        _plan_rank(evaluation.plan_rank) if evaluation.plan_rank else [],
        _strips(evaluation.strips) if evaluation.strips else [],
        _provenance(evaluation),
    ]
    return "\n".join(line for section in sections for line in section)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose first column is words and whose others are numbers, and an empty line."""
    rule = "|---|" + "---:|" * (len(header) - 1)
    return [f"| {' | '.join(header)} |", rule, *(f"| {' | '.join(row)} |" for row in rows), ""]


def shown(estimate: Estimate, digits: int = 2) -> str:
    """A value with its interval."""
    return f"{estimate.value:.{digits}f} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"


def _draw(evaluation: Evaluation, folder: Path) -> list[Path]:
    pictures = [folder / "error.png", folder / "actions.png"]
    plots.draw_errors(evaluation, pictures[0])
    plots.draw_actions(evaluation.actions, pictures[1])
    if evaluation.calibration is not None:
        pictures.append(folder / "calibration.png")
        plots.draw_calibration(evaluation.calibration, pictures[-1])
    if evaluation.states is not None:
        pictures.append(folder / "states.png")
        plots.draw_states(evaluation.states, pictures[-1])
    if evaluation.plan_rank:
        pictures.append(folder / "plan_rank.png")
        plots.draw_plan_rank(evaluation.plan_rank[-1], pictures[-1])
    return pictures


def _verdict(verdict: Verdict, evaluation: Evaluation) -> list[str]:
    answer = "it may be planned with" if verdict.may_plan else "it may not be planned with"
    rows = [(rule.says, _value(rule), _bounds(rule), "yes" if rule.passed else "**no**", rule.on) for rule in verdict.rules]
    return [
        f"# World model {evaluation.checkpoint}: {answer}",
        "",
        *table(("rule", "measured", "must be", "holds", "on; 90 % interval"), rows),
        "It is the measured value that must hold, not the end of its interval: where that reaches past the bound, other clips might not "
        "hold. Numbers in brackets below are 90 % intervals too; whole episodes were drawn anew for them.",
        "",
    ]


def _shortened(found: Sequence[Shortened]) -> list[str]:
    lines = [
        f"**Not measured as far ahead as was asked for** ({one.measured}, {one.dataset}): {one.asked} frames were asked for, "
        f"{one.reached} is the furthest. {one.asked} need episodes of {one.rows_needed} rows; "
        f"half of those that there are have at most {one.rows}."
        for one in found
    ]
    return [part for line in lines for part in (line, "")]


def _value(rule: Rule) -> str:
    return "not measured" if rule.value is None else f"{rule.value:.4g}"


def _bounds(rule: Rule) -> str:
    parts = [
        f"at least {rule.at_least:g}" if rule.at_least is not None else "",
        f"at most {rule.at_most:g}" if rule.at_most is not None else "",
    ]
    return " and ".join(part for part in parts if part)


def _errors(known: LatentError, hidden: LatentError, baseline: LatentError | None) -> list[str]:
    lines = [("model, actions known", known.ratio), ("model, actions hidden", hidden.ratio)]
    lines += [("teacher-forced baseline", baseline.ratio)] if baseline else []
    horizons = _told(known.ratio)
    rows = [(name, *(shown(ratio[h - 1]) if h <= len(ratio) else "" for h in horizons)) for name, ratio in lines]
    copy = ("copying, mean squared error", *(shown(known.copy[h - 1], 3) for h in horizons))
    return [
        "## How far imagined frames are from real ones",
        "",
        f"Squared error in normalised latents, in units of holding the last seen frame still (below 1 is better than copying): "
        f"{known.clips} clips of {known.episodes} held-out episodes, {known.context} frames seen, mean of {known.seeds} futures, "
        f"K = {known.steps}, {_grid(known.grid)} tokens.",
        "",
        *table(("", *_ahead(horizons)), [*rows, copy]),
        "![error against horizon](error.png)",
        "",
    ]


def _actions(response: ActionResponse) -> list[str]:
    horizons = _told(response.gain)
    parts = (
        ("error with another clip's actions / with the true ones", response.gain, response.gain_overall),
        ("error with unknown actions / with the true ones", response.null, response.null_overall),
        ("change that actions cause, imagined / real", response.deviation, response.deviation_overall),
    )
    rows = [(name, *(shown(values[h - 1]) for h in horizons), shown(overall)) for name, values, overall in parts]
    return [
        "## Whether it listens to actions",
        "",
        f"The same noise everywhere; {response.clips} clips. 1 in the first row means that actions are ignored, 1 in the last is right.",
        "",
        *table(("", *_ahead(horizons), "all"), rows),
        "![response to actions](actions.png)",
        "",
    ]


def _sampling(sampling: SamplingSteps) -> list[str]:
    horizons = _told(sampling.rows[0].error)
    rows = [
        (
            str(row.steps),
            *(shown(row.error[h - 1], 3) for h in horizons),
            shown(row.overall, 3),
            f"{row.spread[horizons[-1] - 1]:.3f}",
            f"{1000.0 * row.seconds_per_frame:.1f}",
        )
        for row in sampling.rows
    ]
    finest = max(row.steps for row in sampling.rows)
    return [
        "## How many sampling steps it needs",
        "",
        f"Squared error of the mean of {sampling.seeds} futures, {sampling.clips} clips of {sampling.episodes} episodes, "
        f"{_grid(sampling.grid)} tokens. The ratio is of errors summed over 1 to {len(sampling.rows[0].error)} frames ahead; the verdict "
        "rests on that of K = 4.",
        "",
        *table(("K", *_ahead(horizons), f"all / K = {finest}", f"spread, {horizons[-1]} ahead", "ms per frame"), rows),
    ]


def _calibration(result: CalibrationResult) -> list[str]:
    bands, covered = result.calibration, (result.test, *result.shifted)
    rows = [(one.name, f"{one.clips} of {one.episodes}", shown(one.overall), shown(one.refused)) for one in covered]
    widths = ", ".join(f"{name} {width:.3f}" for name, width in result.widths.items())
    return [
        "## Whether it knows how far off it is",
        "",
        f"Bands that say {bands.coverage:.0%}, from {bands.clips} clips of {bands.episodes} episodes; {_grid(bands.grid)} tokens, "
        f"K = {bands.steps}, {bands.seeds} futures. Mean half width by score: {widths}; the narrower one is used.",
        "",
        *table(("episodes", "clips of episodes", "within the band", "spread above the usual"), rows),
        "![coverage against horizon](calibration.png)",
        "",
    ]


def _states(states: StateErrors) -> list[str]:
    rows = [
        (error.quantity, str(error.horizon), str(error.clips), shown(error.imagined), shown(error.true), shown(error.copied))
        for error in states.errors
    ]
    return [
        "## Where things are in imagined frames",
        "",
        "Median error of linear probes that were fitted to true tokens of training episodes. "
        f"{_truth(states)}Things mostly lie still, which copying gets "
        'right; what "moved" went more than 2 cm since the last seen frame.',
        "",
        *table(("", "frames ahead", "clips", "imagined frame", "true frame", "last frame seen"), rows),
        "![what probes read](states.png)",
        "",
    ]


def _truth(states: StateErrors) -> str:
    """Which columns count as the truth, and what that of the tool may be."""
    if not states.truth:
        return ""
    columns = ", ".join(f"`{column}` for the {name}" for name, column in states.truth.items())
    return (
        f"What counts as true are the columns {columns}; the tool's is the commanded pose where the embedded arm or a recording with a "
        "guard wrote it, which the tool in the picture trails, and a measured one elsewhere. "
    )


def _plan_rank(found: Sequence[PlanRank]) -> list[str]:
    rows = [
        (
            _grid(one.grid),
            *(shown(value) for value in (one.latent, one.metric, one.ceiling)),
            *(shown(value, 1) for value in (one.chosen_cm, one.best_cm, one.average_cm)),
        )
        for one in found
    ]
    starts = found[0].starts
    header = ("tokens", "model and real tokens", "model and tool", "real tokens and tool", "chosen, cm", "best, cm", "average, cm")
    return [
        "## Whether it puts plans in the right order",
        "",
        f"{len(starts)} starts of the embedded arm with {len(starts[0].distance_cm)} candidate plans each; all of them were carried out. "
        "Rank correlations of the model's cost with the real end's, in tokens and in the tool's distance from the goal; the third is what "
        "a model would reach that is always right. Then where the plan ends that the model likes best.",
        "",
        *table(header, rows),
        "![order of plans](plan_rank.png)",
        "",
        f"The picture shows {_grid(found[-1].grid)} tokens, from the start with the worst order to that with the best.",
        "",
    ]


def _strips(names: Sequence[str]) -> list[str]:
    lines = ["## What it imagines", "", "Green frames were seen, orange ones imagined; numbers are frames ahead.", ""]
    return [*lines, *(part for name in names for part in (f"![real over imagined]({name})", ""))]


def _provenance(evaluation: Evaluation) -> list[str]:
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in evaluation.seconds.items())
    lines = [
        "## What was measured",
        "",
        f"- Checkpoint {evaluation.checkpoint}, step {evaluation.step}, {evaluation.parameters / 1e6:.2f} M parameters, weights "
        f"{evaluation.weights[:12]}.",
        f"- Encoder {evaluation.encoder}, {evaluation.encoder_hash[:12]}.",
        f"- Time: {seconds}.",
    ]
    if evaluation.skipped:
        lines.append(f"- {len(evaluation.skipped)} episodes could not be read, the first: {evaluation.skipped[0]}.")
    return [*lines, ""]


def _told(over_horizon: Sequence[object]) -> list[int]:
    """Of the horizons that tables name, those that were measured, and at least the last one."""
    return [h for h in TOLD if h <= len(over_horizon)] or [len(over_horizon)]


def _ahead(horizons: Sequence[int]) -> list[str]:
    return [f"{h} ahead" for h in horizons]


def _grid(grid: tuple[int, int]) -> str:
    return f"{grid[0]}x{grid[1]}"
