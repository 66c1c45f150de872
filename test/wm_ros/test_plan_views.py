"""Protects what is shown of plans: everything to whoever looks, nothing is imagined for nobody, and no picture is empty or ends a goal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time

from wm_core.errors import PlanningError
from wm_core.planning.bounds import ToolState
from wm_core.planning.draft import Beginning, Draft
from wm_core.planning.goal import Goal
from wm_core.planning.model_evaluator import Seen
from wm_core.planning.plan import Plan
from wm_core.planning.scores import Fidelity, Pass, Scores
from wm_core.planning.track import Track
from wm_core.robot.rotation import Array
from wm_core.vision.decoder import Decoder, DecoderNetwork
from wm_ros.images import picture
from wm_ros.plan_views import Overheard, PlanViews

GRID, DIM, HORIZON = (4, 4), 3, 5
COARSE: dict[Pass, Fidelity] = {"search": Fidelity(1, 1, 1), "review": Fidelity(1, 4, 3)}
CAREFUL: dict[Pass, Fidelity] = COARSE | {"review": Fidelity(0, 4, 3)}
SEEN = Seen(torch.zeros(2, 16, DIM), torch.zeros(1, 7), torch.ones(1, dtype=torch.bool), torch.zeros(0, 7))
GOAL = Goal("there", torch.ones(16, DIM), GRID, "tiny", "a" * 64, np.full((8, 8, 3), 200, np.uint8))


class Imagining:
    """It says what it was asked to imagine."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.imagined: list[Pass] = []
        self.fault = fault

    def see(self, seen: Seen) -> None:
        pass

    def evaluate(self, actions: Array, fidelity: Pass) -> Scores:
        return Scores(np.arange(len(actions), dtype=float), np.zeros(len(actions)))

    def imagine(self, actions: Array, fidelity: Pass) -> torch.Tensor:
        self.imagined.append(fidelity)
        if self.fault:
            raise self.fault
        return torch.zeros(1, len(actions), actions.shape[1], 16, DIM)

    def distance(self) -> float:
        return 1.0


@dataclass
class Publisher:
    listeners: int
    sent: list[Any] = field(default_factory=list)

    def get_subscription_count(self) -> int:
        return self.listeners

    def publish(self, message: Any) -> None:
        self.sent.append(message)


class Node:
    """As much of a node as views need."""

    def __init__(self, listeners: int) -> None:
        self.listeners, self.publishers, self.warnings = listeners, dict[str, Publisher](), list[str]()

    def create_publisher(self, kind: type, name: str, depth: int) -> Publisher:
        return self.publishers.setdefault(name, Publisher(self.listeners))

    def get_clock(self) -> Node:
        return self

    def now(self) -> Node:
        return self

    def to_msg(self) -> Time:
        return Time(sec=5)

    def get_logger(self) -> Node:
        return self

    def warning(self, text: str, throttle_duration_sec: float) -> None:
        self.warnings.append(text)

    @property
    def sent(self) -> dict[str, int]:
        return {name: len(publisher.sent) for name, publisher in self.publishers.items()}


def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder(DecoderNetwork("light", 4, 8, 1, 1), GRID, DIM, "a" * 64)


def views(node: Node, drawer: Decoder | None, fidelities: dict[Pass, Fidelity] = CAREFUL) -> PlanViews:
    return PlanViews(node, "base_link", drawer, fidelities)  # type: ignore[arg-type]


def planned(evaluator: Overheard) -> Draft:
    """A first plan as the controller makes it: the search, then standing still for comparison, then a careful look at the plan."""
    evaluator.evaluate(np.zeros((64, HORIZON, 7)), "search")
    evaluator.evaluate(np.zeros((1, HORIZON, 7)), "search")
    evaluator.evaluate(np.zeros((1, HORIZON, 7)), "review")
    plan = Plan(np.zeros((HORIZON, 7)), 1.0, {}, False, 1, 64, 0.1)
    tool = ToolState(np.zeros(3), np.diag([1.0, -1.0, -1.0]), 1.0)
    return Draft(plan, Track(plan.actions, 10.0, 0.2, 2), Beginning(10.0, tool, SEEN, np.zeros(7)))


def test_nothing_is_made_or_imagined_while_nobody_looks() -> None:
    node, inner = Node(listeners=0), Imagining()
    heard = Overheard(inner, GOAL)
    views(node, decoder()).show(planned(heard), heard)
    assert node.sent == {"~/plan": 0, "~/candidates": 0, "~/imagined": 0}
    assert not inner.imagined


def test_a_plan_is_shown_with_the_candidates_of_its_search_and_what_is_imagined() -> None:
    node, inner = Node(listeners=1), Imagining()
    heard = Overheard(inner, GOAL)
    views(node, decoder()).show(planned(heard), heard)
    assert node.sent == {"~/plan": 1, "~/candidates": 1, "~/imagined": 1}
    assert len(node.publishers["~/candidates"].sent[0].markers) == 1 + 24, "of the search, not of standing still"
    strip = picture(node.publishers["~/imagined"].sent[0])
    assert strip.shape == (16, 16 * (1 + HORIZON + 1), 3)
    assert (strip[:, -16:] == 200).all(), "the goal comes last"
    assert inner.imagined == ["review"], "on the encoder's own grid, once"


def test_a_strip_that_is_there_already_is_not_imagined_again() -> None:
    node, inner = Node(listeners=1), Imagining()
    heard, shown = Overheard(inner, GOAL), views(node, decoder())
    draft = planned(heard)
    strip = shown.strip(draft, heard)
    shown.show(draft, heard, strip)
    assert node.publishers["~/imagined"].sent == [strip]
    assert len(inner.imagined) == 1


@pytest.mark.parametrize(("drawer", "fidelities"), [(None, CAREFUL), (decoder(), COARSE)])
def test_what_cannot_be_drawn_is_not_imagined_and_no_empty_picture_is_sent(
    drawer: Decoder | None, fidelities: dict[Pass, Fidelity]
) -> None:
    node, inner = Node(listeners=1), Imagining()
    heard = Overheard(inner, GOAL)
    views(node, drawer, fidelities).show(planned(heard), heard)
    assert node.sent == {"~/plan": 1, "~/candidates": 1, "~/imagined": 0}
    assert not inner.imagined


def test_a_picture_that_nobody_can_imagine_is_a_warning_and_no_more() -> None:
    node, heard = Node(listeners=1), Overheard(Imagining(PlanningError("no world model answers")), GOAL)
    views(node, decoder()).show(planned(heard), heard)
    assert node.sent == {"~/plan": 1, "~/candidates": 1, "~/imagined": 0}
    assert len(node.warnings) == 1
    assert "no world model answers" in node.warnings[0]
