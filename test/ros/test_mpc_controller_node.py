"""Protects the controller over DDS: goals are planned and acted on, what cannot be done has its code, and every end is rest."""

from __future__ import annotations

import signal
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from arm_system import CALM, ArmSystem
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Path as PathMessage
from ros_process import CONFIG
from sensor_msgs.msg import Image
from served_models import ENCODER, save_model
from visualization_msgs.msg import MarkerArray

from wm_core.planning.goal_library import GoalLibrary
from wm_core.planning.goal_request import Code
from wm_core.planning.served_model import LoadCode
from wm_core.vision.embedded import MomentNetwork, save_embedded
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import Preprocessing
from wm_ros.conversions import seconds
from wm_ros.images import image_message
from wm_ros.msg import DeltaEECommand, LatentFrame, PlannerStatus
from wm_ros.srv import LoadModel, PlanToGoal, SaveGoal

NODE, SIZE, START_UP = "/mpc_controller", 32, 90.0
PICTURE = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
FINAL = (PlannerStatus.REACHED, PlannerStatus.FAILED, PlannerStatus.CANCELLED)


def save_encoder(folder: Path) -> FrozenEncoder:
    torch.manual_seed(0)
    network = MomentNetwork(8, 2, 8, 8, 8)
    made = FrozenEncoder(
        ENCODER, network.build(SIZE), Preprocessing(SIZE, "exact", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), torch.device("cpu")
    )
    save_embedded(folder, made, network, {})
    return made


def save_config(folder: Path, **changes: Any) -> Path:
    """The shipped settings with a small search and an untrained model, which follows no goal but plans as fast as a trained one."""
    planner = yaml.safe_load((CONFIG / "planner.yaml").read_text())
    planner["frames"] = 3
    planner["search"] |= {"samples": 16, "horizon": 5, "iterations": 2, "elites": 4}
    planner["cheap"] |= {"grid": 1}
    controller = yaml.safe_load((CONFIG / "mpc_controller.yaml").read_text()) | {"goals": str(folder / "goals")} | changes
    controller["sight"] |= {"joint_age": 2.0}
    controller["pursuit"] |= {"near": 1e-5}  # as far apart as float16 puts two views of one thing
    (folder / "planner.yaml").write_text(yaml.safe_dump(planner))
    (folder / "safety_guard.yaml").write_text((CONFIG / "safety_guard.yaml").read_text())
    (folder / "controller.yaml").write_text(yaml.safe_dump(controller))
    return folder / "controller.yaml"


@dataclass
class Controlled:
    """The running system, and what the controller says and sends."""

    system: ArmSystem
    encoder: Path
    hash: str
    statuses: list[PlannerStatus] = field(default_factory=list)
    commands: list[DeltaEECommand] = field(default_factory=list)

    def ask(self, within: float = 30.0, **fields: Any) -> PlanToGoal.Response:
        return self.system.observer.call(PlanToGoal, "/plan_to_goal", PlanToGoal.Request(**fields), within)

    def away(self, **fields: Any) -> PlanToGoal.Response:
        """Begin a goal that is not there already: a picture of noise."""
        image = image_message(PICTURE, "", Time())
        return self.ask(**{"goal_image": image, "execute": True, "timeout": Duration(sec=20), **fields})

    def ended(self, goal_id: str, within: float = 30.0) -> PlannerStatus:
        """How that goal ended; nothing but one zero is sent afterwards."""
        end = lambda: next((s for s in self.statuses if s.goal_id == goal_id and s.state in FINAL), None)  # noqa: E731
        found = self.system.observer.until(end, lambda: f"an end of {goal_id}; {self.statuses[-1:]}", within)
        self.system.await_rest(20.0)
        self.commands.clear()
        self.system.pause(0.5)
        assert not self.commands
        return found


def moves(step: DeltaEECommand) -> bool:
    """Whether it is anything but a zero."""
    linear = step.translation
    return bool(np.abs([linear.x, linear.y, linear.z]).max() > 0.0)


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controlled]:
    folder = tmp_path_factory.mktemp("controlled")
    made = save_encoder(folder / "encoder")
    model = save_model(folder / "model", dim=8, encoder_hash=made.weight_hash)
    config = save_config(folder, encoder=str(folder / "encoder"), world_model=str(model))
    system = ArmSystem(folder)
    try:
        system.start("sim_arm", width=SIZE, height=SIZE)
        system.start("safety_guard", **CALM)
        system.start("encoder", encoder=str(folder / "encoder"), remappings={"image_raw": "camera/front/image_raw"})
        system.start("mpc_controller", config_file=str(config), remappings={"image_raw": "camera/front/image_raw"})
        system.await_ready()
        found = Controlled(system, folder / "encoder", made.weight_hash)
        found.statuses = system.observer.hear(PlannerStatus, f"{NODE}/status")
        found.commands = system.observer.hear(DeltaEECommand, "/delta_command")
        system.observer.until(lambda: found.statuses, lambda: f"the controller is active; {system.said()}", START_UP)
        yield found
    finally:
        system.close()


@pytest.fixture
def idle(controlled: Controlled) -> Controlled:
    """Nothing runs, the guard is armed and frames arrive."""
    system = controlled.system
    system.observer.trigger(f"{NODE}/cancel")
    system.await_rest(20.0)
    system.arm()
    system.observer.until(lambda: controlled.ask(goal_name="none").code == Code.GOAL_UNKNOWN, "frames arrive", START_UP)
    controlled.statuses.clear()
    controlled.commands.clear()
    return controlled


def test_planning_alone_is_answered_and_moves_nothing(idle: Controlled) -> None:
    before = idle.system.positions()
    views = [idle.system.observer.hear(kind, f"{NODE}/{name}") for kind, name in ((PathMessage, "plan"), (MarkerArray, "candidates"))]
    answer = idle.away(execute=False)
    assert (answer.success, answer.code) == (True, Code.SUCCESS), answer.message
    assert len(answer.plan) == 10
    assert answer.planning_time.sec + answer.planning_time.nanosec > 0
    assert {round(step.step.nanosec * 1e-9, 3) for step in answer.plan} == {0.1}
    assert answer.start_cost >= answer.predicted_cost - 1e-9
    idle.system.observer.until(lambda: idle.away(execute=False).success and all(views), "what is shown of a plan alone")
    assert len(views[1][-1].markers) == 1 + 16, "the candidates of the search"
    idle.system.pause(0.5)
    assert not idle.commands
    np.testing.assert_allclose(idle.system.positions(), before, atol=1e-3)


def test_a_goal_is_carried_out_without_a_gap_until_it_is_cancelled(idle: Controlled) -> None:
    views = [idle.system.observer.hear(kind, f"{NODE}/{name}") for kind, name in ((PathMessage, "plan"), (MarkerArray, "candidates"))]
    diagnostics = idle.system.observer.hear(DiagnosticArray, "/diagnostics")
    answer = idle.away()
    assert answer.success, answer.message
    idle.system.observer.until(lambda: len(idle.commands) > 25, "commands")
    idle.system.observer.until(lambda: all(views), "what is shown of the plans")
    told = lambda: {v.key for m in diagnostics for s in m.status if s.name == f"{NODE}: planning" for v in s.values}  # noqa: E731
    idle.system.observer.until(lambda: "cost_goal" in told(), "what the cost of a plan is made of")
    assert {len(view[-1].poses) for view in views[:1]} == {6}
    stamps = np.array([command.header.stamp.sec + 1e-9 * command.header.stamp.nanosec for command in idle.commands])
    assert len({command.plan_id for command in idle.commands}) > 1
    assert np.diff(stamps).min() > 0.0
    assert idle.statuses[-1].state == PlannerStatus.EXECUTING
    assert idle.system.observer.trigger(f"{NODE}/cancel").success
    assert idle.ended(answer.goal_id).state == PlannerStatus.CANCELLED
    assert not idle.system.observer.trigger(f"{NODE}/cancel").success


def test_what_is_seen_now_can_be_saved_and_is_reached_at_once(idle: Controlled) -> None:
    saved = idle.system.observer.call(SaveGoal, f"{NODE}/save_goal", SaveGoal.Request(name="here"))
    assert saved.success, saved.message
    # The untrained model wanders off even from a goal it is at: for once every distance counts as reached.
    assert idle.system.observer.set_parameter(NODE, "pursuit.near", 1000.0) == (True, "")
    answer = idle.ask(goal_name="here", execute=True)
    assert answer.success, answer.message
    assert idle.ended(answer.goal_id).state == PlannerStatus.REACHED
    idle.system.observer.set_parameter(NODE, "pursuit.near", 1e-5)
    near = idle.ask(goal_name="heer")
    assert near.code == Code.GOAL_UNKNOWN
    assert "nearest: here" in near.message
    assert not idle.system.observer.call(SaveGoal, f"{NODE}/save_goal", SaveGoal.Request(name="a/b")).success


def test_a_mask_is_kept_with_the_goal_and_one_that_does_not_fit_is_refused(idle: Controlled) -> None:
    def keep(mask: Image, name: str = "half") -> SaveGoal.Response:
        request = SaveGoal.Request(name=name, image=image_message(PICTURE, "", Time()), mask=mask)
        return idle.system.observer.call(SaveGoal, f"{NODE}/save_goal", request)

    half = np.zeros((2 * SIZE, 2 * SIZE), np.uint8)
    half[:SIZE] = 255
    saved = keep(grey_message(half))
    assert saved.success, saved.message
    kept = GoalLibrary(idle.encoder.parent / "goals").load("half")
    assert kept.weights is not None
    assert (float(kept.weights.max()), float(kept.weights.min())) == (2.0, 0.0)
    assert idle.ask(goal_name="half").success
    assert "another shape" in keep(grey_message(half[:SIZE])).message
    assert "mono8" in keep(image_message(PICTURE, "", Time())).message
    masked = idle.away(goal_mask=grey_message(half), execute=False)
    assert masked.success, masked.message
    assert idle.away(goal_mask=grey_message(0 * half), execute=False).code == Code.GOAL_INVALID


def grey_message(pixels: np.ndarray) -> Image:
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding="mono8", step=pixels.shape[1])
    message.data = array("B", pixels.tobytes())
    return message


def test_what_cannot_be_done_is_answered_with_its_code(idle: Controlled) -> None:
    wrong = image_message(PICTURE[:, :16], "", Time())
    empty = Image(width=SIZE, height=SIZE, encoding="rgb8", step=3 * SIZE)
    unknown = image_message(PICTURE, "", Time())
    unknown.encoding = "bayer_rggb8"
    for fields, code in (
        ({"goal_image": wrong}, Code.GOAL_INVALID),
        ({"goal_image": empty}, Code.GOAL_INVALID),
        ({"goal_image": unknown}, Code.GOAL_INVALID),
        ({"goal_path": "/nowhere.png"}, Code.GOAL_INVALID),
        ({"goal_path": "a.png", "goal_name": "b"}, Code.GOAL_INVALID),
        ({"episode": "/nowhere#0"}, Code.GOAL_UNKNOWN),
    ):
        answer = idle.ask(execute=True, **fields)
        assert (answer.success, answer.code) == (False, code), answer.message
    idle.system.observer.trigger("/safety_guard/disarm")
    idle.system.await_status(lambda status: status.state == 0, "DISARMED")
    assert idle.away().code == Code.NOT_ARMED
    assert idle.away(execute=False).success


def test_a_second_goal_is_refused_or_replaces_the_first(idle: Controlled) -> None:
    first = idle.away()
    assert idle.away().code == Code.BUSY
    second = idle.away(replace=True)
    assert second.success, second.message
    idle.system.observer.until(lambda: idle.statuses[-1].goal_id == second.goal_id, "the second goal")
    assert first.goal_id != second.goal_id
    idle.system.observer.trigger(f"{NODE}/cancel")
    idle.ended(second.goal_id)


def test_another_model_is_loaded_between_goals_and_an_unfit_one_is_not(idle: Controlled) -> None:
    folder, encoder_hash = idle.encoder.parent, idle.hash

    def load(checkpoint: Path) -> LoadModel.Response:
        return idle.system.observer.call(
            LoadModel, f"{NODE}/load_model", LoadModel.Request(checkpoint=str(checkpoint)), START_UP, again=START_UP
        )

    fit = save_model(folder / "fit", seed=1, dim=8, encoder_hash=encoder_hash)
    running = idle.away()
    assert load(fit).code == LoadCode.NOT_READY, "a goal is running"
    idle.system.observer.trigger(f"{NODE}/cancel")
    idle.ended(running.goal_id)
    before = idle.away(execute=False).predicted_cost
    unfit = {
        LoadCode.SELF_CHECK_FAILED: save_model(folder / "absurd", dim=8, encoder_hash=encoder_hash, scale=1e3),
        LoadCode.ENCODER_MISMATCH: save_model(folder / "foreign", dim=8),
        LoadCode.NOT_FOUND: folder / "none",
    }
    for code, checkpoint in unfit.items():
        answer = load(checkpoint)
        assert (answer.success, answer.code) == (False, code), answer.message
    assert idle.away(execute=False).success, "the old one plans on"
    assert load(fit).success
    after = idle.away(execute=False, replace=True)
    assert after.success, after.message
    assert abs(after.predicted_cost - before) > 1e-6, "another model imagines something else"


def test_a_guard_that_stops_ends_the_goal(idle: Controlled) -> None:
    answer = idle.away()
    idle.system.observer.trigger("/safety_guard/estop")
    end = idle.ended(answer.goal_id)
    assert end.state == PlannerStatus.FAILED
    assert "not ARMED" in end.text


def test_a_goal_that_takes_too_long_is_given_up(idle: Controlled) -> None:
    answer = idle.away(timeout=Duration(sec=1))
    end = idle.ended(answer.goal_id)
    assert end.state == PlannerStatus.FAILED
    assert "not reached within 1 s" in end.text


def test_an_encoder_that_dies_ends_the_goal_and_one_that_comes_back_is_used(idle: Controlled) -> None:
    frames, sent = idle.system.observer.hear(LatentFrame, "/latents"), idle.system.observer.hear(DeltaEECommand, "/delta_command")
    answer = idle.away()
    idle.system.observer.until(lambda: frames and any(moves(step) for step in sent), "the arm is sent somewhere")
    idle.system.processes["encoder"].end(signal.SIGKILL)
    end = idle.ended(answer.goal_id)
    assert end.state == PlannerStatus.FAILED
    assert "camera frame is" in end.text
    blind = seconds(frames[-1].header.stamp) + yaml.safe_load((CONFIG / "mpc_controller.yaml").read_text())["sight"]["frame_age"]
    late = [step for step in sent if seconds(step.header.stamp) > blind + 0.05]
    assert len(late) > 3, "the arm is held before the goal is given up"
    assert not any(moves(step) for step in late)
    assert idle.away().code == Code.OBSERVATION_STALE
    idle.system.start("encoder", encoder=str(idle.encoder), remappings={"image_raw": "camera/front/image_raw"})
    idle.system.observer.until(lambda: idle.away(execute=False).success, "the encoder is back", START_UP)
