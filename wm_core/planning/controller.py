"""Closed-loop control toward one goal at a time, on two threads: one plans, the other sends what is due; neither waits for the other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np

from wm_core.errors import PlanningError, WmError
from wm_core.planning import pursuit as pursuits
from wm_core.planning.controller_config import PaceConfig
from wm_core.planning.cost import Candidates
from wm_core.planning.draft import Draft, Drafter, Limit, SeeingEvaluator, Target
from wm_core.planning.pursuit import Outcome, Pursuit, PursuitConfig
from wm_core.planning.retreat import Place
from wm_core.planning.schedule import Schedule, Ticks
from wm_core.planning.search import Clock
from wm_core.planning.sight import Sight, SightConfig, Source
from wm_core.planning.split import UnavailableError
from wm_core.planning.track import STILL
from wm_core.robot.rotation import Array

NEAREST = 1e-12  # the distance of a goal that is there already counts as this
REMEMBERED = 5  # plans whose second longest time says how far ahead the next one begins: a single hold-up shall not
LOOK = 1.0  # s between careful looks at the newest plan, which take a fifth of the time that a plan takes
UNSURE = 2  # looks in a row that find the model unsure of its way end a goal: a single one shall not
MARGIN = 1.1  # of that time: a plan that comes just after its tick is as late as one that comes just before the next


class State(IntEnum):
    """What the controller is doing; the numbers are those of PlannerStatus."""

    IDLE = 0
    PLANNING = 1
    EXECUTING = 2
    REACHED = 3
    FAILED = 4
    CANCELLED = 5


@dataclass(frozen=True)
class Mission:
    """A goal that was accepted: its name, the model that was given it, and when it counts as reached.

    unsure: why a plan for it is not to be trusted; empty where it is.
    """

    goal_id: str
    evaluator: SeeingEvaluator
    pursuit: PursuitConfig
    unsure: Callable[[Draft], str] = lambda draft: ""

    def named(self, draft: Draft, number: int) -> Draft:
        """A plan for it under its name; they are counted from 1."""
        return replace(draft, track=replace(draft.track, plan_id=f"{self.goal_id}.{number}"))


@dataclass(frozen=True)
class First:
    """The first plan for a goal: how far that is (latent distance), and what the plan, and standing still, are predicted to cost."""

    mission: Mission
    source: Source | None
    draft: Draft
    distance: float
    start_cost: float
    uncertainty: float
    seconds: float
    input_age: float


@dataclass(frozen=True)
class Step:
    """A step of control: motion (6,) m and rad, opening (None: as it is), its plan and its number in it."""

    motion: Array
    opening: float | None
    plan_id: str
    index: int


@dataclass(frozen=True)
class Report:
    """What the controller is doing, for people and programs; share is the distance as a share of the start's.

    frame_to_command: from the newest frame that the newest plan was made from to the tick that sends its first step (s); plans: how many;
    missed: how many of them came later than the tick that they were made for.
    """

    state: State = State.IDLE
    text: str = "waiting for /plan_to_goal"
    goal_id: str = ""
    share: float = 0.0
    draft: Draft | None = None
    start_cost: float = 0.0
    uncertainty: float = 0.0
    seconds: float = 0.0
    input_age: float = 0.0
    frame_to_command: float = 0.0
    plans: int = 0
    missed: int = 0


@dataclass
class _Run:
    """A goal on its way.

    promised: when the plan that is being made should take over (s); place: the nearest to the goal that was seen; looked: when a plan was
    looked at carefully last (s); unsure: how many times in a row the model was found to be then; hitch: why no plan could be made last.
    """

    first: First
    pursuit: Pursuit
    schedule: Schedule
    generator: np.random.Generator
    newest: float
    begun: float
    adopted: float
    plans: int = 1
    promised: float = np.inf
    place: Place | None = None
    looked: float = -np.inf
    unsure: int = 0
    hitch: str = ""


@dataclass
class Controller:
    """`first`, `begin` and `improve` belong to the planning thread, `tick` to control; the rest may be called from anywhere.

    `lead` (s) is how long a plan is expected to take before any was made. `now` is the clock of the stamps.
    """

    drafter: Drafter
    sight: Sight
    ticks: Ticks
    now: Clock
    pace: PaceConfig
    trust: SightConfig
    lead: float
    seed: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _run: _Run | None = None
    _rest: bool = False
    _served: float = -np.inf
    _careful: float | None = None
    _report: Report = field(default_factory=Report)
    _took: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def __post_init__(self) -> None:
        self._took.extend([self.lead] * 2)

    @property
    def report(self) -> Report:
        """The newest."""
        with self._lock:
            return self._report

    @property
    def running(self) -> bool:
        with self._lock:
            return self._run is not None

    @property
    def ahead(self) -> float:
        """How far ahead the next plan begins at the least, s; where plans take longer than they are long the arm rests between them."""
        with self._lock:
            return min(MARGIN * sorted(self._took)[-2], self.drafter.length)

    def first(self, mission: Mission) -> First:
        """A plan for a new goal; nothing moves, and a goal that runs goes on."""
        began, view = self.now(), self.sight.view()
        with self._lock:
            schedule = self._run.schedule if self._run else Schedule()
        begins = self.drafter.beginning(view, schedule, self.ticks.after(began + self.ahead))
        mission.evaluator.see(begins.seen)
        distance = mission.evaluator.distance()
        generator = np.random.default_rng(self.seed)
        unit = max(distance, NEAREST)
        # What is left of a plan for another goal is no guess for this one.
        draft = self.drafter.draft(begins, mission.evaluator, Schedule(), Target(unit), generator, self._limit(began))
        draft = mission.named(draft, 1)
        self._careful = draft.plan.careful
        took, cost = self.now() - began, self._still_cost(mission, draft, unit)
        return First(mission, view.source, draft, distance, cost, self._spread(mission, draft, unit), took, began - view.history.newest)

    def begin(self, first: First) -> None:
        """Carry out a goal, in place of the one that runs."""
        now = self.now()
        with self._lock:
            schedule = self._run.schedule if self._run else Schedule()
            generator = np.random.default_rng([self.seed, 1])
            newest = first.draft.begins.seen.stamp
            self._run = _Run(first, pursuits.begin(first.distance, now), schedule, generator, newest, now, now, looked=now)
            self._rest = False
            self._report = Report(
                State.PLANNING, "the first plan is made", first.mission.goal_id, 1.0, None, first.start_cost, first.uncertainty
            )
            self._adopt(self._run, first.draft, now)
            self._note(first.draft, first.seconds, first.input_age)

    def improve(self) -> tuple[Draft, SeeingEvaluator] | None:
        """Plan once more from the newest frame; None where there is nothing to do yet, or the goal has ended."""
        began, view = self.now(), self.sight.view()
        with self._lock:
            run = self._run
            if run is None or view.history.newest <= run.newest or began < run.begun + self.pace.replan:
                return None
            if self.sight.blind(self.trust, began):
                return None
            run.newest, run.begun = view.history.newest, began
            newest = run.schedule.newest
            earliest = -np.inf if newest is None else newest.start + self.ticks.period
            start = max(self.ticks.after(began + self.ahead), earliest)
            run.promised, schedule = start, run.schedule
        mission = run.first.mission
        begins = self.drafter.beginning(view, schedule, start)
        mission.evaluator.see(begins.seen)
        distance = mission.evaluator.distance()
        run.place = self.drafter.nearest(run.place, view, distance)
        if self._arrived(run, distance, began, self.drafter.rests(run.place, view)):
            return None
        target = Target(max(run.first.distance, NEAREST), run.place)
        draft = self.drafter.draft(begins, mission.evaluator, schedule, target, run.generator, self._limit(began))
        draft = mission.named(draft, run.plans)
        self._careful = draft.plan.careful
        with self._lock:
            took = self.now() - began
            self._took.append(took)
            if self._run is not run:
                return None
            self._adopt(run, draft, self.now())
            self._note(draft, took, began - view.history.newest)
        self._look(run, draft, target.unit)
        return draft, mission.evaluator

    def tick(self, now: float, fault: str = "") -> Step | None:
        """What to send now; None: nothing. `fault` is why the arm cannot be commanded, e.g. that the guard is not armed."""
        fault = fault or self.sight.fault(self.trust, now)
        with self._lock:
            run, due = self._run, self.ticks.nearest(now)
            self._served = due
            if run is not None and (fault := _other_source(run.first.source, self.sight.source) or fault):
                self.end(State.FAILED, fault)
            elif run is not None and now - run.adopted > self.pace.stall:
                why = run.hitch or "is the model too slow?"
                self.end(State.FAILED, f"no new plan for {now - run.adopted:.1f} s, allowed: {self.pace.stall:g} s: {why}")
            if run is None or self._run is None:
                return self._last_word()
            if due >= run.promised - 1e-6:
                run.promised, self._report = np.inf, replace(self._report, missed=self._report.missed + 1)
            if self.sight.blind(self.trust, now):
                self._report = replace(self._report, text="the arm is held: the newest frame is too old to act on")
                return self._zero()
            track, action = run.schedule.followed(due), run.schedule.control(due)
            if track is None or action is None:
                return self._zero()
            opening = float(action[6]) if self.drafter.search.config.gripper else None
            return Step(action[:6], opening, track.plan_id, track.index(due))

    def cancel(self, text: str = "cancelled by request") -> Step | None:
        """End what runs; the zero to send, None where nothing ran."""
        with self._lock:
            if self._run is None:
                return None
            self.end(State.CANCELLED, text)
            return self._last_word()

    def fail(self, text: str) -> None:
        """Give up what runs."""
        self.end(State.FAILED, text)

    def unplanned(self, error: Exception) -> None:
        """A plan could not be made. The goal is given up for it, but where servers do not answer only if that lasts for `pace.stall`."""
        text = f"no plan could be made: {error if isinstance(error, WmError) else repr(error)}"
        with self._lock:
            if self._run is not None and isinstance(error, UnavailableError):
                self._run.hitch, self._report = text, replace(self._report, text=text)
            else:
                self.fail(text)

    def announce(self, state: State, text: str, goal_id: str) -> None:
        """Say what is done about a goal while none runs."""
        with self._lock:
            if self._run is None:
                self._report = Report(state, text, goal_id)

    def end(self, state: State, text: str) -> None:
        """End what runs: `tick` sends a zero, and nothing more."""
        with self._lock:
            if self._run is not None:
                self._run, self._rest = None, True
                self._report = replace(self._report, state=state, text=text)

    def reconfigure(self, pace: PaceConfig, trust: SightConfig) -> None:
        """From now on."""
        with self._lock:
            self.pace, self.trust = pace, trust

    def _last_word(self) -> Step | None:
        """A zero, once: the last step must not go on until it expires."""
        due, self._rest = self._rest, False
        return self._zero() if due else None

    def _zero(self) -> Step:
        return Step(STILL[:6], None, self._report.goal_id, 0)

    def _arrived(self, run: _Run, distance: float, now: float, rests: bool) -> bool:
        """Whether the pursuit is over with this frame."""
        with self._lock:
            if self._run is not run:
                return True
            config = run.first.mission.pursuit
            run.pursuit, outcome = pursuits.follow(config, run.pursuit, distance, now, rests)
            away = f"{100 * run.pursuit.share:.1f} % of the distance at the start is left"
            self._report = replace(self._report, share=run.pursuit.share, text=away)
            took = f"{now - run.pursuit.began:.1f} s"
            if outcome is Outcome.REACHED:
                self.end(State.REACHED, f"reached after {took}: {away}, allowed: {100 * config.tolerance:g} %")
            elif outcome is Outcome.TIMED_OUT:
                self.end(State.FAILED, f"not reached within {config.timeout:g} s: {away}")
            elif outcome is Outcome.NO_PROGRESS:
                self.end(State.FAILED, f"no nearer for {config.patience:g} s, given up after {took}: {away}")
            return outcome is not Outcome.RUNNING

    def _adopt(self, run: _Run, draft: Draft, now: float) -> None:
        """Schedule a plan: at the next tick where the arm rests anyway; else as it was made, and if it comes late, with what it missed."""
        track, due = draft.track, max(self.ticks.after(now), self._served + self.ticks.period)
        if run.schedule.control(min(due, track.start)) is None:
            track = replace(track, start=due)
        elif due > track.start + 1e-6:
            track = run.schedule.caught_up(track, due, self.drafter.longest)
        self._report = replace(self._report, plans=run.plans, frame_to_command=track.start - draft.begins.seen.stamp)
        run.schedule, run.plans = run.schedule.extended(track), run.plans + 1
        run.adopted, run.promised, run.hitch = now, np.inf, ""

    def _note(self, draft: Draft, seconds: float, input_age: float) -> None:
        back, spread = "; back to the nearest place seen" if draft.plan.retreats else "", draft.plan.uncertainty
        told = replace(self._report, state=State.EXECUTING, text=self._report.text + back, draft=draft)
        uncertainty = told.uncertainty if spread is None else spread
        self._report = replace(told, uncertainty=uncertainty, seconds=seconds, input_age=input_age)

    def _look(self, run: _Run, draft: Draft, unit: float) -> None:
        """Every so often, look carefully at the newest plan; a model that does not know its way any more ends the goal."""
        if self.now() < run.looked + LOOK:
            return
        run.looked, mission = self.now(), run.first.mission
        spread, unsure = self._spread(mission, draft, unit), mission.unsure(draft)
        run.unsure = run.unsure + 1 if unsure else 0
        with self._lock:
            if self._run is run:
                self._report = replace(self._report, uncertainty=spread)
                if run.unsure >= UNSURE:
                    self.end(State.FAILED, unsure)

    def _spread(self, mission: Mission, draft: Draft, unit: float) -> float:
        """Of a plan's outcome over noise seeds, in units of cost; where the search has not told it, at the price of a careful look."""
        known = draft.plan.uncertainty
        if known is None:
            known = float(mission.evaluator.evaluate(draft.plan.actions[None], "review").uncertainty[0]) / unit
        return known

    def _limit(self, began: float) -> Limit:
        return Limit(self.now, began + self.pace.deadline if self.pace.deadline else np.inf, self._careful)

    def _still_cost(self, mission: Mission, draft: Draft, unit: float) -> float:
        actions = self.drafter.still(draft.begins)
        scores = mission.evaluator.evaluate(actions, "search")
        candidates = Candidates(actions, draft.begins.before, scores.goal / unit, scores.uncertainty / unit)
        return float(sum(values[0] for values in self.drafter.search.cost.terms(candidates).values()))


def _other_source(planned: Source | None, now: Source | None) -> str:
    """Why frames of now are not those that the goal was accepted on; empty where they are."""
    if planned is None or now is None or planned == now:
        return ""
    was, came = (f"{one.camera}, {one.encoder} {one.encoder_hash[:12]}" for one in (planned, now))
    return str(PlanningError("the frames come from elsewhere than when the goal was accepted", got=came, allowed=was, mend="ask again"))


def whole_chunk(rate: float, step: float) -> int:
    """Steps of control in one step of the model (s)."""
    chunk = round(rate * step)
    if chunk < 1 or abs(chunk - rate * step) > 1e-6:
        allowed = f"a multiple of {1.0 / step:g} Hz"
        raise PlanningError(
            "a step of the model is no whole number of steps of control", got=f"{rate:g} Hz", allowed=allowed, mend="pace.rate"
        )
    return chunk
