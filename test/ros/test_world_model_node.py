"""Protects planning over rollout servers: their scores are those of one process, though one dies; garbage costs an answer, no node."""

from __future__ import annotations

import math
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from arm_system import ArmSystem
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from ros_process import CONFIG
from sensor_msgs.msg import Image, JointState
from served_models import (
    DIM,
    ENCODER,
    GRID,
    HASH,
    OPENING,
    STEP,
    Moment,
    history,
    moments,
    save_bands,
    save_model,
    save_robot,
    save_small_decoder,
)

from wm_core import configuration
from wm_core.planning.bounds import Bounds, StepLimits, ToolState
from wm_core.planning.controller import Mission
from wm_core.planning.controller_config import ControllerConfig
from wm_core.planning.cost import Cost, CostWeights
from wm_core.planning.doubt import doubt
from wm_core.planning.goal import Goal
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.goal_library import GoalLibrary
from wm_core.planning.goal_request import Code, GoalRequest, RefusedError
from wm_core.planning.model_evaluator import ModelEvaluator, Seen
from wm_core.planning.planner_config import PlannerConfig
from wm_core.planning.reception import Reception, Ticket
from wm_core.planning.scores import Fidelity, Pass, Scores
from wm_core.planning.search import Problem, Search, SearchConfig
from wm_core.planning.served_model import LoadCode
from wm_core.planning.split import UnavailableError
from wm_core.planning.witness import Witness
from wm_core.vision.encoder import Encoder
from wm_core.world_model.world_model import WorldModel
from wm_ros.images import picture
from wm_ros.imagination import Imagination, open_imagination
from wm_ros.msg import LatentFrame
from wm_ros.rollout_client import RolloutError, RolloutServers
from wm_ros.rollout_messages import floats, frame_message, request_message, scores
from wm_ros.srv import LoadModel, Rollout

FIDELITIES: dict[Pass, Fidelity] = {"search": Fidelity(1, 1, 1), "review": Fidelity(0, 4, 3)}
DISTANCE, SEED, FRAMES = GoalDistance(0.5), 7, 5
MOMENTS = moments(8)
COMMITTED = 0.02 * np.random.default_rng(5).standard_normal((2, 7))
STRANGER = cast(Encoder, SimpleNamespace(name=ENCODER, weight_hash=HASH))
PURSUIT = configuration.read(ControllerConfig, CONFIG / "mpc_controller.yaml").pursuit
START_UP = 60.0  # s; a process that imports torch on a busy machine


def goal(encoder_hash: str = HASH) -> Goal:
    """In numbers that float16 holds, with weights."""
    draw = torch.Generator().manual_seed(5)
    tokens = torch.randn(GRID[0] * GRID[1], DIM, generator=draw).half().float()
    weights = torch.rand(GRID[0] * GRID[1], generator=draw)
    return Goal("there", tokens, GRID, ENCODER, encoder_hash, np.zeros((8, 8, 3), np.uint8), weights / weights.mean())


def candidates(count: int, horizon: int = 3) -> np.ndarray:
    return 0.02 * np.random.default_rng(2).standard_normal((count, horizon, 7))


def seen(known: list[Moment] = MOMENTS) -> Seen:
    return history(known).seen(FRAMES, STEP, COMMITTED)


def same(found: Scores, expected: Scores) -> None:
    """To the float32 that scores travel in."""
    np.testing.assert_allclose(found.goal, expected.goal, rtol=1e-5)
    np.testing.assert_allclose(found.uncertainty, expected.uncertainty, rtol=1e-4, atol=1e-6)


@dataclass
class Served:
    """Two servers of one model that have heard MOMENTS, and the model in this process."""

    system: ArmSystem
    folder: Path
    parameters: dict[str, object]
    send_frame: Callable[[LatentFrame], None]
    send_commanded: Callable[[JointState], None]

    def start(self, name: str) -> None:
        self.system.start("world_model", name, **self.parameters)

    def call(self, name: str, request: Rollout.Request) -> Rollout.Response:
        return self.system.observer.call(Rollout, f"/{name}/rollout", request, START_UP)

    def load(self, name: str, checkpoint: Path) -> LoadModel.Response:
        return self.system.observer.call(LoadModel, f"/{name}/load_model", LoadModel.Request(checkpoint=str(checkpoint)), START_UP)

    def tell(self, *names: str) -> None:
        """One moment after the other, each heard by all before the next: a frame that was missed cannot be made up for."""
        for moment in MOMENTS:
            ask = Rollout.Request(context_stamp=moment.frame.header.stamp)

            def heard(moment: Moment = moment, ask: Rollout.Request = ask) -> bool:
                self.send_commanded(moment.commanded)
                self.send_frame(moment.frame)
                return all(self.call(name, ask).success for name in names)

            self.system.observer.until(heard, lambda: f"the servers hear; {self.system.said()}", START_UP)

    def evaluator(self, checkpoint: Path | None = None, seed: int = SEED) -> ModelEvaluator:
        """The same model in this process, before the same frames."""
        made = ModelEvaluator(WorldModel.open(checkpoint or self.folder / "model"), goal(), DISTANCE, FIDELITIES, seed)
        made.see(seen())
        return made

    def imagination(self) -> Imagination:
        """As a controller has it that is told of both servers."""
        config = replace(configuration.read(ControllerConfig, CONFIG / "mpc_controller.yaml"), servers=("a", "b"))
        planner = configuration.read(PlannerConfig, CONFIG / "planner.yaml")
        planner = replace(planner, distance=DISTANCE, cheap=FIDELITIES["search"], careful=FIDELITIES["review"])
        return open_imagination(self.system.observer.node, config, planner, STRANGER)

    def servers(self, *names: str, patience: float = 1.0) -> RolloutServers:
        return RolloutServers(self.system.observer.node, names, patience)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`a` and `b`, shared by the tests of this file; the last one kills them."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("served")
    save_model(folder / "model")
    save_bands(folder / "model", 0.05)
    robot, decoder = save_robot(folder, CONFIG / "ur5e.yaml"), save_small_decoder(folder / "decoder")
    parameters = {"world_model": str(folder / "model"), "decoder": str(decoder), "robot_file": str(robot), "wait": 2.0, "device": "cpu"}
    system = ArmSystem(folder)
    send = system.observer.sender
    made = Served(system, folder, parameters, send(LatentFrame, "/latents"), send(JointState, "/safety_guard/commanded"))
    try:
        for name in "ab":
            made.start(name)
        made.tell("a", "b")
        yield made
    finally:
        system.close()


def request(**changes: object) -> Rollout.Request:
    """A valid one, with fields replaced."""
    message = request_message(seen(), candidates(4), goal(), DISTANCE.discount, SEED, FIDELITIES["search"])
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def test_several_servers_score_as_one_process_does(served: Served) -> None:
    servers, own = served.servers("a", "b"), served.evaluator()
    try:
        assert servers.connect(START_UP) == pytest.approx(STEP)
        judge = servers.evaluator(goal(), DISTANCE, FIDELITIES, SEED)
        judge.see(seen())
        for fidelity in FIDELITIES:
            for count in (1, 9):
                same(judge.evaluate(candidates(count), fidelity), own.evaluate(candidates(count), fidelity))
        known = Witness(candidates(1)[0].astype(np.float32), 1, goal().latents.flip(0))
        judge.correct(known)
        own.correct(known)
        plain = served.evaluator().evaluate(candidates(9), "search")
        for fidelity in FIDELITIES:
            same(judge.evaluate(candidates(9), fidelity), own.evaluate(candidates(9), fidelity))
        assert np.abs(own.evaluate(candidates(9), "search").goal - plain.goal).max() > 1e-3
        assert judge.distance() == pytest.approx(own.distance(), rel=1e-5)
        found, expected = judge.imagine(candidates(2), "review"), own.imagine(candidates(2), "review")
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)
        earlier = history(MOMENTS[:-1]).seen(FRAMES, STEP, COMMITTED)  # an older frame than the newest is a context too
        judge.see(earlier)
        own.see(earlier)
        same(judge.evaluate(candidates(5), "search"), own.evaluate(candidates(5), "search"))
        assert not servers.split.lost
    finally:
        servers.close()


def test_a_context_is_what_the_one_who_asks_knows_of_it(served: Served) -> None:
    """The servers heard every command; here one was missed, and the newest frame's reading has not come yet."""
    servers, own = served.servers("a", "b"), served.evaluator()
    blind = replace(seen(), known=torch.tensor([True, False, True, False]), readings=None)
    try:
        servers.connect(START_UP)
        judge = servers.evaluator(goal(), DISTANCE, FIDELITIES, SEED)
        informed = own.evaluate(candidates(5), "search")
        judge.see(blind)
        own.see(blind)
        found, expected = judge.evaluate(candidates(5), "search"), own.evaluate(candidates(5), "search")
        same(found, expected)
        assert np.abs(expected.goal - informed.goal).max() > 1e-3
    finally:
        servers.close()


def test_a_request_by_hand_needs_little(served: Served) -> None:
    told = served.call("a", Rollout.Request(actions=floats(candidates(2)), samples=2, horizon=3, want_latents=True))
    assert told.success
    assert not told.costs
    assert len(told.latents) == 2 * 3
    assert told.model_hash == WorldModel.open(served.folder / "model").hash


def test_pictures_come_with_the_answer_and_to_whoever_watches(served: Served) -> None:
    told = served.call("a", request(want_images=True, grid=0))
    assert [picture(image).shape for image in told.images] == [(16, 16, 3)] * 3
    assert not told.latents
    watched: list[Image] = served.system.observer.hear(Image, "/b/imagined")
    strip = served.system.observer.until(lambda: watched, "a strip of standing still")[0]
    assert picture(strip).shape == (16, 16 * 6, 3)
    assert strip.header.frame_id == "camera"


R = Rollout.Response
NOT_FINITE = candidates(4)
NOT_FINITE[1, 1, 1] = math.nan
FRAME = request_message(seen(), candidates(4), goal(), 0.0, 0, FIDELITIES["search"]).goal
TURNED = request_message(seen(), candidates(4), goal(), 0.0, 0, FIDELITIES["search"]).goal
TURNED.grid_height, TURNED.grid_width = 2, 8
FOREIGN = request_message(seen(), candidates(4), goal("b" * 64), 0.0, 0, FIDELITIES["search"]).goal
BAD = {
    "fewer numbers than samples": (dict(samples=9), R.INVALID, "actions are not what the request says"),
    "more than there can be": (dict(samples=4_000_000_000, horizon=4_000_000_000), R.INVALID, "actions are not what"),
    "no steps": (dict(actions=[], horizon=0), R.INVALID, "samples without a step"),
    "NaN": (dict(actions=floats(NOT_FINITE)), R.INVALID, "not finite"),
    "committed that do not divide": (dict(committed=[0.0] * 8), R.INVALID, "committed are not"),
    "committed for hours": (dict(committed=[0.0] * 7 * 65), R.INVALID, "too much is under way"),
    "too far": (dict(actions=floats(np.zeros(7 * 65)), samples=1, horizon=65), R.INVALID, "too far ahead"),
    "committed NaN": (dict(committed=[math.nan] * 7), R.INVALID, "committed actions are not finite"),
    "weights of another grid": (dict(goal_weights=[1.0] * 3), R.INVALID, "weights do not fit"),
    "goal of another encoder": (dict(goal=FOREIGN), R.INVALID, "another encoder"),
    "goal cut off": (dict(goal=LatentFrame(grid_height=4, grid_width=4, dim=3, data=[0, 1])), R.INVALID, "does not hold what it says"),
    "goal on another grid": (dict(goal=TURNED), R.INVALID, "on another grid"),
    "pictures of a pooled grid": (dict(want_images=True), R.INVALID, "nothing can be drawn"),
    "no such grid": (dict(grid=9), R.INVALID, "no such grid"),
    "no such steps": (dict(steps=3), R.INVALID, "steps"),
    "discount": (dict(discount=math.nan), R.INVALID, "discount"),
    "too much": (dict(actions=floats(np.zeros(7 * 200 * 5)), samples=200, horizon=5, seeds=255), R.INVALID, "too much to imagine"),
    "a stamp that is gone": (dict(context_stamp=Time(sec=1)), R.CONTEXT_MISSING, "no frame of this stamp"),
    "more frames than are held": (dict(frames=20), R.CONTEXT_MISSING, "too short"),
    "other frames": (dict(context_checks=[1] * FRAMES), R.CONTEXT_MISSING, "other frames"),
    "context actions that do not fit": (dict(context_actions=[0.0] * 7), R.INVALID, "context_actions are not"),
    "context readings that do not fit": (dict(context_readings=[0.0] * 7), R.INVALID, "context_readings are not"),
    "context readings NaN": (dict(context_readings=[math.nan] * 7 * FRAMES), R.INVALID, "not finite"),
    "a witness that never arrives": (
        dict(witness_way=[0.0] * 21, witness_arrived=3, witness=FRAME),
        R.INVALID,
        "does not say how its way ends",
    ),
    "a witness that is too short": (dict(witness_way=[0.0] * 7, witness=FRAME), R.INVALID, "does not say how its way ends"),
    "a witness of another grid": (
        dict(witness_way=[0.0] * 21, witness=frame_message(goal().latents[:4], ENCODER, HASH, (2, 2))),
        R.INVALID,
        "saw no frame of this encoder",
    ),
    "a witness of another encoder": (dict(witness_way=[0.0] * 21, witness=FOREIGN), R.INVALID, "by another encoder than the goal"),
    "a witness NaN": (dict(witness_way=[math.nan] * 21, witness=FRAME), R.INVALID, "witness is not finite"),
    "another model": (dict(model_hash="f" * 64), R.MODEL_MISMATCH, "another model serves"),
}


def test_garbage_gets_its_code_and_the_server_goes_on(served: Served) -> None:
    for what, (changes, code, words) in BAD.items():
        answer = served.call("a", request(**changes))
        assert (answer.success, answer.code) == (False, code), f"{what}: {answer.message}"
        assert words in answer.message, f"{what}: {answer.message}"
    assert served.call("a", request()).success


def test_a_checkpoint_that_will_not_do_leaves_the_old_one_serving(served: Served) -> None:
    folder, before = served.folder, served.call("b", request())
    truncated = Path(shutil.copytree(folder / "model", folder / "truncated"))
    (truncated / "ema.safetensors").write_bytes((truncated / "ema.safetensors").read_bytes()[:-100])
    bad = {
        LoadCode.NOT_FOUND: [folder / "none"],
        LoadCode.INVALID: [truncated],
        LoadCode.ENCODER_MISMATCH: [save_model(folder / "foreign", encoder_hash="b" * 64)],
        LoadCode.SELF_CHECK_FAILED: [
            save_model(folder / "nonsense", scale=math.nan),
            save_model(folder / "absurd", scale=1e3),
            save_model(folder / "wider", dim=DIM + 1),
            save_model(folder / "slower", fps=1.0),
            save_model(folder / "timeless", fps=None),
        ],
    }
    for code, checkpoints in bad.items():
        for checkpoint in checkpoints:
            answer = served.load("b", checkpoint)
            assert (answer.success, answer.code) == (False, code), f"{checkpoint.name}: {answer.message}"
            assert answer.message
            after = served.call("b", request())
            assert (after.model_hash, list(after.costs)) == (before.model_hash, list(before.costs))


def test_a_loaded_checkpoint_serves_and_others_are_not_mixed_with_it(served: Served) -> None:
    other, servers = save_model(served.folder / "other", seed=1), served.servers("a", "b")
    try:
        servers.connect(START_UP)
        judge = servers.evaluator(goal(), DISTANCE, FIDELITIES, SEED)
        judge.see(seen())
        answer = served.load("b", other)
        assert answer.success, answer.message
        same(scores(served.call("b", request())), served.evaluator(other).evaluate(candidates(4), "search"))
        same(judge.evaluate(candidates(8), "search"), served.evaluator().evaluate(candidates(8), "search"))
        assert "another model serves" in servers.split.lost["b"]
    finally:
        servers.close()
    assert served.load("b", served.folder / "model").success


def test_what_all_servers_were_given_is_taken_with_the_next_goal_and_never_before(served: Served) -> None:
    other, imagination = save_model(served.folder / "later", seed=2), served.imagination()
    try:
        with pytest.raises(RefusedError, match="knows another encoder") as refused:
            imagination.evaluator(goal("f" * 64))
        assert refused.value.code is Code.ENCODER_MISMATCH
        begun = imagination.evaluator(goal())
        begun.see(seen())
        assert served.load("b", other).success
        half = imagination.evaluator(goal())
        half.see(seen())
        same(half.evaluate(candidates(9), "search"), served.evaluator(seed=0).evaluate(candidates(9), "search"))
        assert served.load("a", other).success
        for _ in range(2):
            with pytest.raises(UnavailableError, match=r"a: .*another model serves.*b: .*another model serves"):
                begun.evaluate(candidates(4), "search")
            new = imagination.evaluator(goal())
            new.see(seen())
            for fidelity in FIDELITIES:
                same(new.evaluate(candidates(9), fidelity), served.evaluator(other, seed=0).evaluate(candidates(9), fidelity))
    finally:
        imagination.close()
        for name in "ab":
            assert served.load(name, served.folder / "model").success


def test_a_model_of_another_step_is_not_taken_between_goals(served: Served) -> None:
    servers = served.servers("a", "b")
    try:
        servers.connect(START_UP)
        servers.model_hash, servers.step = "b" * 64, 2.0 * STEP
        with pytest.raises(RolloutError, match=r"another step; got: 0.2 s; allowed: 0.4 s; mend: configure"):
            servers.follow()
    finally:
        servers.close()


class Planner:
    """As much of a controller as a reception needs for a goal that is only planned; its plan is one of the candidates."""

    def __init__(self) -> None:
        self.sight, self.running = SimpleNamespace(source=None), False

    def first(self, mission: Mission) -> Any:
        mission.evaluator.see(seen())
        return SimpleNamespace(draft=SimpleNamespace(begins=SimpleNamespace(seen=seen()), plan=SimpleNamespace(actions=candidates(1)[0])))

    def announce(self, *_: object) -> None:
        """To nobody."""

    cancel = end = announce


def test_servers_doubt_as_one_process_does_and_a_goal_is_refused_for_it(served: Served, tmp_path: Path) -> None:
    imagination, model = served.imagination(), WorldModel.open(served.folder / "model")
    library, planner = GoalLibrary(tmp_path), Planner()
    library.save(goal())
    try:
        told = imagination.doubt(goal(), seen(), candidates(1)[0])
        assert told == pytest.approx(doubt(model, goal(), seen(), candidates(1)[0]), rel=1e-3)
        assert told is not None
        for largest, code in ((0.9 * told, Code.UNCERTAIN), (1.1 * told, None), (0.0, None)):
            reception = Reception(planner, STRANGER, library, imagination.evaluator, imagination.doubt, PURSUIT, largest)  # type: ignore[arg-type]
            ticket = Ticket(GoalRequest(name="there"), "goal-1", 0)
            if code is None:
                assert reception.plan(ticket).goal.name == "there"
            else:
                with pytest.raises(RefusedError, match="does not know its way") as refused:
                    reception.plan(ticket)
                assert refused.value.code is code
    finally:
        imagination.close()


def test_a_server_without_bands_has_no_doubt(served: Served) -> None:
    plain = save_model(served.folder / "plain")
    ask = request(actions=floats(candidates(1)), samples=1, want_doubt=True)
    assert served.call("a", ask).doubt > 0.0
    assert served.call("a", request()).doubt == 0.0
    assert served.load("a", plain).success
    assert served.call("a", ask).doubt == -1.0
    assert served.load("a", served.folder / "model").success


def test_a_server_that_does_not_work_yet_says_so(served: Served) -> None:
    observer = served.system.observer
    assert observer.change_state("/b", Transition.TRANSITION_DEACTIVATE)
    assert served.call("b", request()).code == R.NOT_READY
    assert served.load("b", served.folder / "model").code == LoadCode.NOT_READY
    assert observer.change_state("/b", Transition.TRANSITION_ACTIVATE)
    assert served.call("b", request()).success


def test_latents_of_another_encoder_are_no_context(served: Served) -> None:
    diagnostics: list[DiagnosticArray] = served.system.observer.hear(DiagnosticArray, "/diagnostics")
    foreign = moments(1, encoder_hash="b" * 64)[0]

    def answer() -> Rollout.Response:
        served.send_frame(foreign.frame)
        return served.call("b", request(context_stamp=Time()))

    told = served.system.observer.until(lambda: "another encoder" in (found := answer()).message and found, "the refusal", START_UP)
    assert told.code == R.CONTEXT_MISSING

    def faults() -> list[str]:
        known = [status for message in diagnostics for status in message.status if status.name == "/b: rollouts"]
        return [status.message for status in known if status.level == DiagnosticStatus.ERROR]

    served.system.observer.until(faults, "the diagnosis")
    served.tell("a", "b")
    assert served.call("b", request()).success


class Killer:
    """An evaluator of servers that keeps what it was told, and kills a server once it has been asked."""

    def __init__(self, inner: object, kill: Callable[[], None]) -> None:
        self._inner, self._kill = inner, kill
        self.told: list[tuple[np.ndarray, Pass, Scores]] = []

    def evaluate(self, actions: np.ndarray, fidelity: Pass) -> Scores:
        scores = self._inner.evaluate(actions, fidelity)  # type: ignore[attr-defined]
        self.told.append((actions, fidelity, scores))
        if len(self.told) == 1:
            self._kill()
        return scores

    def distance(self) -> float:
        return self._inner.distance()  # type: ignore[attr-defined]


def test_a_plan_outlives_a_server_and_none_left_is_an_error(served: Served) -> None:
    servers, own = served.servers("a", "b"), served.evaluator()
    limits = StepLimits(0.2, 0.5, (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), (0.3, 0.3, 0.3))
    sizes = {"horizon": 3, "samples": 12, "iterations": 3, "elites": 4, "keep": 1, "review": 4}
    draws = {"constant": 0.5, "translation": 0.5, "rotation": 0.2, "gripper": 0.0, "smallest": 0.1, "momentum": 0.1, "colour": 0.0}
    config = SearchConfig(method="cem", temperature=0.1, **sizes, **draws)  # type: ignore[arg-type]
    search = Search(config, Bounds(limits, STEP), Cost(CostWeights(1.0, 0.5, 0.0, 0.0, 0.0), limits, STEP))
    problem = Problem(ToolState(np.zeros(3), np.diag([1.0, -1.0, -1.0]), OPENING), np.zeros(7))
    try:
        servers.connect(START_UP)
        judge = servers.evaluator(goal(), DISTANCE, FIDELITIES, SEED)
        judge.see(seen())
        killer = Killer(judge, lambda: served.system.processes["a"].send(signal.SIGKILL))
        plan = search.run(problem, killer, np.random.default_rng(0), lambda: 0.0, math.inf)
        assert plan.iterations == 3
        assert plan.reviewed
        for actions, fidelity, told in killer.told:
            same(told, own.evaluate(actions, fidelity))
        assert servers.split.lost.keys() == {"a"}
        served.system.processes["b"].send(signal.SIGKILL)
        served.system.processes["b"].wait()
        with pytest.raises(UnavailableError, match=r"a: .*b: no answer within 1 s"):
            judge.evaluate(candidates(4), "search")
    finally:
        servers.close()


def test_the_codes_are_those_of_the_interface() -> None:
    assert {code.name: int(code) for code in LoadCode} == {code.name: getattr(LoadModel.Response, code.name) for code in LoadCode}
