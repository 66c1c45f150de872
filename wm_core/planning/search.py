"""CEM: draw sequences of actions, imagine where they end, and draw again around the best, as long as there is time.

Options: coloured noise and elites kept between iterations (iCEM), and weights exp(-cost / temperature) instead of an elite (MPPI). A few
of the best are then imagined again more carefully and with several noise seeds, whose spread is the plan's uncertainty. What is found must
be imagined nearer than the way back to the nearest place that was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wm_core.configuration import setting
from wm_core.errors import PlanningError
from wm_core.planning.bounds import Bounds, ToolState
from wm_core.planning.cost import Candidates, Cost
from wm_core.planning.noise import coloured
from wm_core.planning.plan import Plan
from wm_core.planning.retreat import FREE, Place, RetreatConfig
from wm_core.planning.scores import Evaluator, Pass
from wm_core.planning.witness import Witness
from wm_core.robot.rotation import Array

Clock = Callable[[], float]
FORGETS = 0.98  # of a careful look's time, at every plan that it is left out of: one that was held up once is tried again
REST = np.array([-1])  # row of the first candidates: what is done where nothing is worth doing


@dataclass(frozen=True)
class SearchConfig:
    """How candidates are drawn and how many."""

    method: str = setting("cem: around the best; mppi: around all, weighted by cost", choices=("cem", "mppi"))
    horizon: int = setting("Steps of the model to look ahead", low=1, high=64)
    samples: int = setting("Candidates of one iteration", low=4, high=65536)
    iterations: int = setting("Iterations at most; the deadline may end them earlier", low=1, high=100)
    elites: int = setting("Candidates that the next ones are drawn around", low=1, high=4096)
    keep: int = setting("Elites that stay among the next candidates", low=0, high=4096)
    constant: float = setting("Share of the first candidates that repeat one step over the whole horizon", low=0.0, high=1.0)
    translation: float = setting("Deviation of the first draws, in shares of the longest step", low=0.0, high=10.0)
    rotation: float = setting("The same for rotations; 0: the tool keeps its orientation", low=0.0, high=10.0)
    gripper: float = setting("The same for the opening; 0: the gripper stays as it is", low=0.0, high=10.0)
    smallest: float = setting("Share of the first deviation below which it never falls", low=0.0, high=1.0)
    momentum: float = setting("Share of the old mean and deviation that each iteration keeps", low=0.0, high=0.99)
    colour: float = setting("Exponent of the noise along the horizon: 0 white, 2 smooth", low=0.0, high=6.0)
    temperature: float = setting("mppi: cost difference, in deviations of the costs, that divides the weight by e", low=1e-3, high=100.0)
    review: int = setting("Best candidates that are imagined again more carefully; 0: none", low=0, high=1024)

    def __post_init__(self) -> None:
        if not self.elites <= self.samples or self.keep > self.elites:
            raise PlanningError("sizes of the search disagree", got=f"{self.keep} kept, {self.elites} elites, {self.samples} samples")


@dataclass(frozen=True)
class Problem:
    """What to plan for.

    Where the plan starts; the action (7,) that is being executed then; the distance to the goal that counts as one; a guess (H, 7) to
    begin from, e.g. what is left of the last plan; and the nearest place to the goal that was seen.
    """

    start: ToolState
    before: Array
    unit: float = 1.0
    guess: Array | None = None
    place: Place | None = None

    def __post_init__(self) -> None:
        if not self.unit > 0.0:
            raise PlanningError("nothing is left to plan: the arm is at the goal already", got=f"a distance of {self.unit:g}")


@dataclass(frozen=True)
class _Pool:
    """Candidates with their costs."""

    actions: Array
    costs: Array
    terms: dict[str, Array]
    spread: Array

    def best(self, count: int) -> _Pool:
        return self.rows(np.argsort(self.costs, kind="stable")[:count])

    def rows(self, chosen: NDArray[np.intp]) -> _Pool:
        terms = {name: values[chosen] for name, values in self.terms.items()}
        return _Pool(self.actions[chosen], self.costs[chosen], terms, self.spread[chosen])


@dataclass(frozen=True)
class Search:
    """A search is pure: the same problem, evaluator answers, generator and clock readings give the same plan."""

    config: SearchConfig
    bounds: Bounds
    cost: Cost
    retreat: RetreatConfig = FREE

    def run(
        self,
        problem: Problem,
        evaluator: Evaluator,
        generator: np.random.Generator,
        clock: Clock,
        deadline: float,
        careful: float | None = None,
    ) -> Plan:
        """The best plan found until `deadline` on `clock` (s); one iteration is always made, and its like is never begun too late.

        Time is kept for the careful look where it fits, and it is left out where not. `careful` (s) is what it takes as far as is known
        from the plan before; None: as long as an iteration.
        """
        begin, longest, look, kept = clock(), 0.0, 0.0, 0.0
        if (witness := self._witness(problem)) is not None:
            evaluator.correct(witness)
        deviation = first = self.deviation()
        mean, pools = self._first_mean(problem), list[_Pool]()
        while len(pools) < self.config.iterations and (not pools or clock() + longest + kept <= deadline):
            started = clock()
            drawn = self._draw(mean, deviation, problem, generator, pools)
            pools.append(self._scored(drawn, problem, evaluator, "search"))
            mean, deviation = self._refit(pools[-1], mean, deviation, first)
            longest = max(longest, clock() - started)
            look = longest if careful is None else careful
            kept = look if self.config.review and clock() + look <= deadline else 0.0  # nothing where that is too late already
        best, resting = min((pool.best(1) for pool in pools), key=lambda pool: float(pool.costs[0])), pools[0].rows(REST)
        begun = clock()
        reviewed = bool(self.config.review) and begun + look <= deadline
        if reviewed:
            best, resting = self._review(best, resting, pools[-1], mean, problem, evaluator)
            careful = clock() - begun
        elif careful is not None:
            careful *= FORGETS
        retreats = self._retreats(problem, best, resting)
        best = resting if retreats else best
        terms = {name: float(values[0]) for name, values in best.terms.items()}
        samples, spread = len(pools) * self.config.samples, float(best.spread[0]) if reviewed else None
        return Plan(best.actions[0], float(best.costs[0]), terms, reviewed, len(pools), samples, clock() - begin, retreats, spread, careful)

    def deviation(self) -> Array:
        """Of the first draws (H, 7): m, rad, opening."""
        config, limits, seconds = self.config, self.bounds.limits, self.bounds.seconds
        one = [config.translation * limits.linear_speed * seconds] * 3 + [config.rotation * limits.angular_speed * seconds] * 3
        return np.tile([*one, config.gripper], (config.horizon, 1))

    def _still(self, problem: Problem) -> Array:
        still = np.zeros((self.config.horizon, 7))
        still[:, 6] = problem.start.gripper
        return still

    def _rest(self, problem: Problem) -> Array:
        """What is done where nothing is worth doing (H, 7): go back to the nearest place that was seen, which may be here, or stay."""
        if problem.place is None:
            return self._still(problem)
        return problem.place.way_back(problem.start, self.config.horizon, self.bounds.limits, self.bounds.seconds)

    def _witness(self, problem: Problem) -> Witness | None:
        """The way back as one whose end is known; None where there is none, or it is not asked for."""
        if problem.place is None or not self.retreat.corrects:
            return None
        way = self.bounds.feasible(self._rest(problem)[None], problem.start)[0]
        return problem.place.witness(way, problem.start, self.retreat.apart)

    def _retreats(self, problem: Problem, best: _Pool, resting: _Pool) -> bool:
        """Whether the best is not imagined to be so much nearer than the nearest place seen that it is worth leaving that for it."""
        gain = float(resting.costs[0] - best.costs[0])
        return problem.place is not None and gain <= self.cost.weights.goal * self.retreat.worth / problem.unit

    def _first_mean(self, problem: Problem) -> Array:
        still = self._still(problem)
        if problem.guess is None:
            return still
        if problem.guess.shape != still.shape:
            raise PlanningError("the guess is not a plan of this horizon", got=problem.guess.shape, allowed=str(still.shape))
        guess = problem.guess.copy()
        guess[:, 6] = guess[:, 6] if self.config.gripper else problem.start.gripper
        return guess

    def _draw(self, mean: Array, deviation: Array, problem: Problem, generator: np.random.Generator, pools: list[_Pool]) -> Array:
        """Candidates (N, H, 7) within the bounds: the mean itself, draws around it, and resting or what was kept."""
        config = self.config
        noise = coloured((config.samples, config.horizon, 7), config.colour, generator)
        if not pools:
            repeated = slice(0, round(config.constant * config.samples))
            noise[repeated] = noise[repeated, :1]
        drawn = mean + deviation * noise
        drawn[0] = mean
        if not pools:
            drawn[REST] = self._rest(problem)
        elif config.keep:
            drawn[-config.keep :] = pools[-1].best(config.keep).actions
        return self.bounds.feasible(drawn, problem.start)

    def _scored(self, actions: Array, problem: Problem, evaluator: Evaluator, fidelity: Pass) -> _Pool:
        scores = evaluator.evaluate(actions, fidelity)
        if not (np.isfinite(scores.goal).all() and np.isfinite(scores.uncertainty).all()) or len(scores.goal) != len(actions):
            got = f"{len(scores.goal)} scores, {int((~np.isfinite(scores.goal)).sum())} of them not finite"
            raise PlanningError("the world model's scores cannot be compared", got=got, allowed=f"{len(actions)} finite numbers")
        spread = scores.uncertainty / problem.unit
        terms = self.cost.terms(Candidates(actions, problem.before, scores.goal / problem.unit, spread))
        return _Pool(actions, np.sum([*terms.values(), np.zeros(len(actions))], axis=0), terms, spread)

    def _refit(self, pool: _Pool, mean: Array, deviation: Array, first: Array) -> tuple[Array, Array]:
        config = self.config
        if config.method == "mppi":
            spread = max(float(pool.costs.std()), 1e-12)
            weights = np.exp(-(pool.costs - pool.costs.min()) / (config.temperature * spread))
            return np.tensordot(weights / weights.sum(), pool.actions, axes=1), deviation
        elite = pool.best(config.elites).actions
        new_mean, new_deviation = elite.mean(axis=0), elite.std(axis=0)
        blend = config.momentum
        deviation = np.maximum(blend * deviation + (1.0 - blend) * new_deviation, config.smallest * first)
        return blend * mean + (1.0 - blend) * new_mean, deviation

    def _review(self, best: _Pool, resting: _Pool, last: _Pool, mean: Array, problem: Problem, evaluator: Evaluator) -> tuple[_Pool, _Pool]:
        """The best of a few when looked at more carefully, and resting in the same light."""
        back = resting.actions[: problem.place is not None]
        middle, elites = self.bounds.feasible(mean[None], problem.start), last.best(self.config.elites).actions
        few = np.concatenate([best.actions, middle, elites])[: max(2, self.config.review - len(back))]
        seen = self._scored(np.concatenate([few, back]), problem, evaluator, "review")
        return seen.best(1), seen.rows(REST)
