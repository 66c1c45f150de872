"""Protects planning over several servers: every candidate is scored exactly once and in order, whoever fails, hangs or comes back."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.errors import PlanningError
from wm_core.planning.scores import Scores
from wm_core.planning.split import Split, UnavailableError

PATIENCE, REST = 0.5, 2.0
ANSWERS, FAILS, HANGS, SHORT, NAN = "answers", "fails", "hangs", "one too few", "not a number"


def judged(actions: np.ndarray) -> Scores:
    """Whoever is asked, the score of a candidate is its own."""
    return Scores(actions.sum((1, 2)), np.abs(actions[:, 0, 0]))


@dataclass
class World:
    """Sources with a behaviour each and a time (s) that a candidate takes; time passes while somebody waits."""

    behaviour: dict[str, str]
    cost: dict[str, float] = field(default_factory=dict)
    now: float = 0.0
    asked: list[tuple[str, np.ndarray]] = field(default_factory=list)
    due: list[tuple[float, Future[Scores], Scores]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def wait(self, futures: Iterable[Future[Scores]], seconds: float) -> None:
        """Until the first of them is done, or the time is over."""
        waited = [one for one in self.due if one[1] in list(futures)]
        done = any(future.done() for future in futures)
        end = self.now if done else min([self.now + max(0.0, seconds), *(time for time, *_ in waited)])
        self.now = max(self.now, end)
        for one in [one for one in self.due if one[0] <= self.now]:
            self.due.remove(one)
            if not one[1].cancelled():
                one[1].set_result(one[2])

    def ask(self, name: str, actions: np.ndarray) -> Future[Scores]:
        self.asked.append((name, actions))
        future: Future[Scores] = Future()
        scores, how = judged(actions), self.behaviour[name]
        if how == FAILS:
            future.set_exception(RuntimeError(f"{name} is broken"))
        elif how != HANGS:
            if how == SHORT:
                scores = Scores(scores.goal[1:], scores.uncertainty[1:])
            if how == NAN:
                scores = Scores(scores.goal * np.nan, scores.uncertainty)
            self.due.append((self.now + len(actions) * self.cost.get(name, 0.001), future, scores))
        return future

    def split(self) -> Split:
        return Split(list(self.behaviour), self.clock, PATIENCE, REST, self.wait)


def candidates(count: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, 3, 7))


def exactly(scores: Scores, actions: np.ndarray) -> None:
    np.testing.assert_array_equal(scores.goal, judged(actions).goal)
    np.testing.assert_array_equal(scores.uncertainty, judged(actions).uncertainty)


@settings(max_examples=150)
@given(
    count=st.integers(1, 40),
    calls=st.lists(st.lists(st.sampled_from([ANSWERS, FAILS, HANGS, SHORT, NAN]), min_size=4, max_size=4), min_size=1, max_size=5),
    survivors=st.lists(st.integers(0, 3), min_size=5, max_size=5),
    pause=st.floats(0.0, 5.0),
)
def test_whatever_fails_the_scores_are_those_of_one_source(count: int, calls: list[list[str]], survivors: list[int], pause: float) -> None:
    world, actions = World(dict.fromkeys("abcd", ANSWERS)), candidates(count)
    split = world.split()
    for behaviours, survivor in zip(calls, survivors, strict=False):
        world.behaviour = dict(zip("abcd", behaviours, strict=True)) | {"abcd"[survivor]: ANSWERS}
        exactly(split.scores(actions, "search", world.ask), actions)
        world.now += pause


@given(count=st.integers(1, 60), sources=st.integers(1, 6))
def test_shares_are_every_candidate_once_in_order_and_even_at_first(count: int, sources: int) -> None:
    world, actions = World(dict.fromkeys("abcdef"[:sources], ANSWERS)), candidates(count)
    world.split().scores(actions, "search", world.ask)
    np.testing.assert_array_equal(np.concatenate([share for _, share in world.asked]), actions)
    sizes = [len(share) for _, share in world.asked]
    assert len(sizes) == min(count, sources)
    assert max(sizes) - min(sizes) <= 1


def test_the_faster_one_gets_more() -> None:
    world, actions = World(dict.fromkeys("ab", ANSWERS), {"a": 0.001, "b": 0.003}), candidates(64)
    split = world.split()
    for _ in range(2):
        world.asked.clear()
        exactly(split.scores(actions, "search", world.ask), actions)
    assert {name: len(share) for name, share in world.asked} == {"a": pytest.approx(48, abs=1), "b": pytest.approx(16, abs=1)}
    world.asked.clear()
    split.scores(actions[:2], "search", world.ask)
    assert [len(share) for _, share in world.asked] == [1, 1]  # the slow one is still measured


def test_the_first_share_of_a_fidelity_may_take_longer_and_no_other() -> None:
    world, actions = World(dict.fromkeys("ab", ANSWERS), {"a": 0.1, "b": 0.1}), candidates(20)  # ten candidates each: a second
    strict, lenient = world.split(), Split(["a", "b"], world.clock, PATIENCE, REST, world.wait, first=2.0)
    with pytest.raises(UnavailableError):
        strict.scores(actions, "search", world.ask)
    exactly(lenient.scores(actions, "search", world.ask), actions)
    exactly(lenient.scores(actions, "review", world.ask), actions)
    with pytest.raises(UnavailableError):
        lenient.scores(actions, "search", world.ask)
    world.behaviour["b"], world.cost = HANGS, {}
    begun = world.now
    fresh = Split(["a", "b"], world.clock, PATIENCE, REST, world.wait, first=2.0)
    exactly(fresh.scores(actions, "search", world.ask), actions)
    assert world.now == pytest.approx(begun + 2.0, abs=0.1)


def test_a_lost_source_costs_its_patience_once_and_comes_back_when_it_answers_again() -> None:
    world, actions = World(dict.fromkeys("ab", ANSWERS)), candidates(8)
    split = world.split()
    world.behaviour["b"] = HANGS
    begun = world.now
    exactly(split.scores(actions, "search", world.ask), actions)
    assert world.now - begun == pytest.approx(PATIENCE, abs=0.05)
    assert split.lost == {"b": "no answer within 0.5 s"}
    begun = world.now
    exactly(split.scores(actions, "search", world.ask), actions)
    assert world.now - begun < 0.05
    world.now += REST
    begun = world.now
    for _ in range(3):  # tried in vain, and nobody waits for it
        exactly(split.scores(actions, "search", world.ask), actions)
    assert world.now - begun < 0.05
    assert [len(share) for name, share in world.asked if name == "b"] == [4, 1]
    world.behaviour["b"] = ANSWERS
    world.now += REST
    for _ in range(2):
        exactly(split.scores(actions, "search", world.ask), actions)
    assert not split.lost
    assert world.asked[-1][0] == "b"
    assert len(world.asked[-1][1]) > 1


def test_when_none_is_left_each_is_named_with_its_fault() -> None:
    world = World({"a": FAILS, "b": HANGS})
    split = world.split()
    with pytest.raises(UnavailableError, match=r"a: a is broken; b: no answer within 0\.5 s"):
        split.scores(candidates(4), "search", world.ask)
    world.behaviour["a"] = ANSWERS  # the next call asks whoever there is
    exactly(split.scores(candidates(4), "search", world.ask), candidates(4))


def test_what_is_not_shared_comes_from_the_first_who_answers() -> None:
    world = World({"a": FAILS, "b": ANSWERS, "c": ANSWERS})
    split = world.split()
    exactly(split.one(lambda name: world.ask(name, candidates(2))), candidates(2))
    assert [name for name, _ in world.asked] == ["a", "b"]
    split.one(lambda name: world.ask(name, candidates(2)))
    assert [name for name, _ in world.asked][2:] == ["b"]
    world.behaviour = dict.fromkeys("abc", HANGS)
    with pytest.raises(UnavailableError, match="c: no answer"):
        split.one(lambda name: world.ask(name, candidates(2)))


def test_what_is_not_shared_may_take_a_time_of_its_own() -> None:
    world = World({"a": ANSWERS}, cost={"a": 1.0})
    split = world.split()
    with pytest.raises(UnavailableError, match=r"no answer within 0\.5 s"):
        split.one(lambda name: world.ask(name, candidates(1)))
    exactly(split.one(lambda name: world.ask(name, candidates(1)), 2.0), candidates(1))
    assert not split.lost
    with pytest.raises(UnavailableError, match=r"no answer within 2 s"):
        split.one(lambda name: world.ask(name, candidates(3)), 2.0)


def test_a_late_answer_is_not_waited_for_any_more() -> None:
    world, futures = World({"a": HANGS}), list[Future[Scores]]()

    def ask(name: str, actions: np.ndarray) -> Future[Scores]:
        futures.append(world.ask(name, actions))
        return futures[-1]

    with pytest.raises(UnavailableError):
        world.split().scores(candidates(2), "search", ask)
    assert [future.cancelled() for future in futures] == [True]


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_sources_need_names_of_their_own(names: list[str]) -> None:
    with pytest.raises(PlanningError, match="names of their own"):
        Split(names, lambda: 0.0, PATIENCE, REST)
