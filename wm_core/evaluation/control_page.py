"""The page of an evaluation of control: who reached how many goals, how smoothly and how fast, in Markdown with pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from wm_core.evaluation import control_plots
from wm_core.evaluation.control import JudgeConfig, Summary, summary
from wm_core.evaluation.control_records import Place, TrialRecords, write
from wm_core.evaluation.page import table

FILE, RECORD = "control.md", "control.json"
LATENCY = "camera frame to command {:.0f} ms (p95 of the plans): the frame's age when planning begins, planning, the wait for the tick."
STRIPS = 3  # of each policy; all others lie beside their trials
SAYS = {
    "random": "random moves",
    "copy": "stays where it is",
    "informed": "pose controller that is told the goal's pose",
    "planner": "plans with the model",
    "deterministic": "plans with a model trained without shortcut forcing",
    "truth": "plans with the simulator itself",
    "controller": "the controller, over ROS",
}
BARS = {"reach": "tool within {tool:g} cm", "turn": "tool within {tool:g} cm and {turn:g} rad", "push": "object within {away:g} cm"}


@dataclass(frozen=True)
class Told:
    """What the page says of how it was measured: the judge, the model's step (s), and how many trials were asked for.

    sizes: how much the planner searches, and how much the search over the simulator, in one sentence.
    """

    judge: JudgeConfig
    step: float
    asked: dict[Place, int]
    sizes: str = ""


@dataclass(frozen=True)
class Paired:
    """The planner beside the search over the simulator, on the tasks that both were given: how many, and in how many each succeeded."""

    scene: str
    kind: str
    tasks: int
    planner: int
    truth: int

    @property
    def ratio(self) -> float | None:
        """Of the successes; None where the simulator has none."""
        return self.planner / self.truth if self.truth else None


def report(records: TrialRecords, told: Told, settings: Mapping[str, object]) -> tuple[Summary, ...]:
    """Of the trials that are there: control.json with `settings`, control.md and its plots, beside them."""
    found = []
    for place, count in told.asked.items():
        trials = records.load(place, count)
        found += [summary(place.policy, place.kind, trials, told.step, place.scene)] if trials else []
    pairs = paired(records, told)
    measured = {"summaries": [asdict(one) for one in found], "paired": [asdict(one) | {"ratio": one.ratio} for one in pairs]}
    write(records.folder / RECORD, {"settings": settings, "step": told.step, **measured})
    _draw(found, records, told)
    (records.folder / FILE).write_text(markdown(found, pairs, records, told), encoding="utf-8")
    return tuple(found)


def paired(records: TrialRecords, told: Told) -> list[Paired]:
    """For each kind of task in each scene where both were tried."""
    found = []
    for scene, kind in dict.fromkeys((place.scene, place.kind) for place in told.asked):
        places = [Place(scene, kind, name) for name in ("planner", "truth")]
        planner, truth = ({one.index: one.success for one in records.load(place, told.asked.get(place, 0))} for place in places)
        both = planner.keys() & truth.keys()
        if both:
            found.append(Paired(scene, kind, len(both), sum(planner[index] for index in both), sum(truth[index] for index in both)))
    return found


def _draw(found: Sequence[Summary], records: TrialRecords, told: Told) -> None:
    folder = records.folder
    rooms = list(dict.fromkeys((one.scene, one.kind) for one in found))
    control_plots.draw_success(found, folder / "success.png")
    for scene, kind in rooms:
        trials = {
            place.policy: records.load(place, count) for place, count in told.asked.items() if (place.scene, place.kind) == (scene, kind)
        }
        control_plots.draw_errors(
            kind, {name: found for name, found in trials.items() if found}, told.judge, told.step, folder / _picture(scene, kind)
        )


def markdown(found: Sequence[Summary], pairs: Sequence[Paired], records: TrialRecords, told: Told) -> str:
    """The page; it names its pictures as `report` calls them."""
    judge = told.judge
    lines = [
        "# Control of the embedded arm",
        "",
        f"Every trial lasts {judge.seconds:g} s of simulated time, {round(judge.seconds / told.step)} steps of the model; it is a success "
        f"if each of its last {judge.last} steps ends within the tolerance. All policies were given the same tasks. Brackets are 95 % "
        "intervals by Wilson's score; errors are medians over trials at their end.",
        "",
        "![share of successes](success.png)",
        "",
    ]
    for scene, kind in dict.fromkeys((one.scene, one.kind) for one in found):
        here = [one for one in found if (one.scene, one.kind) == (scene, kind)]
        lines += [
            f"## {kind}, {scene.replace('_', ' ')}",
            "",
            _bar(kind, judge),
            "",
            *_numbers(here, kind),
            *(part for one in here for part in _missing(one, told)),
            *(line for one in pairs if (one.scene, one.kind) == (scene, kind) for line in (_beside_truth(one, told), "")),
            f"![errors over time]({_picture(scene, kind)})",
            "",
        ]
        lines += _strips(here, records, told)
    return "\n".join(lines)


def _bar(kind: str, judge: JudgeConfig) -> str:
    named = {"tool": 100 * judge.tolerance, "turn": judge.turn_tolerance, "away": 100 * judge.object_tolerance}
    return f"Success: {BARS[kind].format(**named)}."


def _numbers(here: Sequence[Summary], kind: str) -> list[str]:
    header = ["policy", "successes", "share", "tool, cm", "tool, rad", "object, cm", "jerk, m/s^3", "plan p50, ms", "p95, ms", "missed"]
    rows = []
    for one in here:
        share = f"{one.successes / one.trials:.2f} ({one.low:.2f} to {one.high:.2f})"
        away = f"{100 * one.object_error:.1f}" if kind == "push" else ""
        times = [f"{1000 * one.planning:.0f}", f"{1000 * one.planning_p95:.0f}"] if one.planning_p95 else ["", ""]
        errors = [f"{100 * one.tool_error:.1f}", f"{one.turn_error:.3f}", away]
        missed = f"{one.missed} of {one.plans}" if one.planning_p95 else ""
        rows.append(
            [SAYS.get(one.policy, one.policy), f"{one.successes} of {one.trials}", share, *errors, f"{one.jerk:.1f}", *times, missed]
        )
    late = [f"{SAYS.get(one.policy, one.policy)}: {LATENCY.format(1000 * one.latency_p95)}" for one in here if one.latency_p95]
    return [*table(header, rows), *(part for line in late for part in (line, ""))]


def _missing(one: Summary, told: Told) -> list[str]:
    """What was asked for and is not in the numbers."""
    asked = told.asked[Place(one.scene, one.kind, one.policy)]
    if asked == one.trials:
        return []
    who = SAYS.get(one.policy, one.policy)
    return [f"{who}: {asked - one.trials} of the {asked} tasks asked for are not in it: not tried yet, or the arm could not be placed.", ""]


def _beside_truth(pair: Paired, told: Told) -> str:
    share = "no ratio" if pair.ratio is None else f"a ratio of {pair.ratio:.2f}"
    said = f"On the {pair.tasks} tasks that both were given the planner succeeds in {pair.planner}"
    return f"{said}, the search over the simulator in {pair.truth}: {share}. {told.sizes}".rstrip()


def _strips(here: Sequence[Summary], records: TrialRecords, told: Told) -> list[str]:
    """The first ones of each policy; the goal is on the right, in green where it was reached."""
    lines: list[str] = []
    for one in here:
        place = Place(one.scene, one.kind, one.policy)
        paths = [records.path(place, index, "png") for index in range(told.asked.get(place, 0))]
        shown = [path.relative_to(records.folder).as_posix() for path in paths if path.is_file()][:STRIPS]
        if shown:
            lines += [f"{SAYS.get(one.policy, one.policy)}:", "", *(part for name in shown for part in (f"![trial](<{name}>)", ""))]
    return lines


def _picture(scene: str, kind: str) -> str:
    return f"errors_{scene.replace(' ', '_')}_{kind}.png"
