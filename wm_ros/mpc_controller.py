"""Node `mpc_controller`: reaches goals given as pictures. Everything it decides is in wm_core.planning."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

import torch
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.timer import Timer
from std_srvs.srv import Trigger

from wm_core import configuration, device
from wm_core.cli import shipped
from wm_core.errors import WmError
from wm_core.planning.controller import Controller, State, Step, whole_chunk
from wm_core.planning.controller_config import ControllerConfig
from wm_core.planning.draft import Drafter
from wm_core.planning.goal import Goal
from wm_core.planning.goal_library import GoalLibrary
from wm_core.planning.goal_request import Code, RefusedError
from wm_core.planning.planner_config import PlannerConfig, search_of
from wm_core.planning.planning_thread import PlanningThread
from wm_core.planning.rate import Rate
from wm_core.planning.reception import Reception, Ticket
from wm_core.planning.rehearsal import rehearse
from wm_core.planning.schedule import Ticks
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.robot_config import Robot
from wm_ros import planner_messages, process, robot_description
from wm_ros.deferred_service import Reply, offer
from wm_ros.diagnostics import Loop
from wm_ros.guard_watch import GuardWatch
from wm_ros.imagination import Imagination, open_decoder, open_encoder, open_imagination
from wm_ros.lifecycle import WmNode, status
from wm_ros.load_model import LoadModelService
from wm_ros.msg import DeltaEECommand, PlannerStatus
from wm_ros.plan_views import Overheard, PlanViews
from wm_ros.save_goal import SaveGoalService, goals_folder
from wm_ros.srv import PlanToGoal
from wm_ros.watch import Watch

IDLE_STATUS_PERIOD = 1.0
KEPT = 2.0  # s of frames and readings beside those that a plan starts from
LAST_PLAN = 30.0  # s that ending waits for the plan that is being made


class MpcController(WmNode[ControllerConfig]):
    """A timer sends what is due; the planning thread makes it."""

    def __init__(self) -> None:
        super().__init__("mpc_controller", ControllerConfig, "mpc_controller.yaml")
        robot_description.declare(self)

    def own_parameters(self) -> tuple[str, ...]:
        return (*super().own_parameters(), *robot_description.PARAMETERS)

    def configure(self, config: ControllerConfig) -> None:
        began, beside = time.monotonic(), Path(self._source).parent
        robot_config, robot = robot_description.load(self)
        self._planner = planner = configuration.read(PlannerConfig, beside / config.planner)
        guard = configuration.read(GuardConfig, beside / config.guard)
        if config.threads:
            torch.set_num_threads(config.threads)
        self._say("loading the encoder")
        self._encoder = open_encoder(config)
        self._say("loading the world model")
        self._imagination = open_imagination(self, config, planner, self._encoder)
        chunk = whole_chunk(config.pace.rate, self._imagination.step)
        drafter = Drafter(search_of(planner, guard, robot, self._imagination.step), planner.frames, chunk)
        self._measure(drafter, robot)
        self._robot, self._frame, self._period = robot, robot_config.base_link, 1.0 / config.pace.rate
        self._watch = Watch(self, robot.kinematics, config.opening, planner.frames * self._imagination.step + KEPT)
        self._controller = Controller(
            drafter, self._watch.sight, Ticks(self._watch.now(), self._period), self._watch.now, config.pace, config.sight, self._rate.lead
        )
        self._library = GoalLibrary(goals_folder(config.goals), shipped.model("goals"))
        self._reception = Reception(
            self._controller,
            self._encoder,
            self._library,
            self._evaluator,
            lambda *asked: self._imagination.doubt(*asked),
            config.pursuit,
            config.doubt,
        )
        self._views = PlanViews(self, self._frame, open_decoder(config, self._encoder), planner.fidelities)
        self._loop = Loop(self._period)
        self._commands = self.create_publisher(DeltaEECommand, "delta_command", 10)
        self._status = self.create_publisher(PlannerStatus, "~/status", 10)
        self._asking = offer(self, PlanToGoal, "plan_to_goal", self._on_plan)
        self._say(f"ready to plan after {time.monotonic() - began:.1f} s")

    def activate(self) -> None:
        self._guard = GuardWatch(self)
        self._said = State.IDLE
        self._thread = PlanningThread(self._improve, self._on_failed_plan)
        self._thread.start()
        self._watch.subscribe(self._thread.wake)
        self.create_service(Trigger, "~/cancel", self._on_cancel)
        SaveGoalService(self, self._encoder, self._library, self._thread)
        busy, now = lambda: self._reception.busy, lambda: self._imagination
        LoadModelService(self, self._known(), self._planner, self._thread, now, busy, self._put_model)
        self._controller.ticks = Ticks(self._watch.now(), self._period)
        self._timer: Timer = self.create_timer(self._period, self._tick)
        self.create_timer(IDLE_STATUS_PERIOD, self._report_idle)

    def deactivate(self) -> None:
        self._reception.cancel()
        self._send(self._controller.cancel("the controller was deactivated"))
        self._thread.stop(LAST_PLAN)

    def cleanup(self) -> None:
        self._imagination.close()
        self._views.close()
        self.destroy_service(self._asking)
        self.destroy_publisher(self._commands)
        self.destroy_publisher(self._status)

    def reconfigure(self, config: ControllerConfig) -> None:
        self._controller.reconfigure(config.pace, config.sight)
        self._reception.pursuit, self._reception.largest_doubt = config.pursuit, config.doubt

    def diagnose(self) -> list[DiagnosticStatus]:
        report, now = self._controller.report, self._watch.now()
        fault = (self._watch.sight.fault(self._known().sight, now) or self._guard.fault(now)) if self.active else ""
        level = DiagnosticStatus.WARN if fault or self._rate.slow else DiagnosticStatus.OK
        pace = {"ahead": f"{self._controller.ahead:.3f}", "measured": self._rate.number, "missed_plans": report.missed}
        terms = {f"cost_{name}": f"{value:.5f}" for name, value in (report.draft.plan.terms.items() if report.draft else ())}
        ticks = {"missed_ticks": self._loop.overruns, "longest_tick": f"{self._loop.longest:.4f}"}
        return [
            status(self, "goal", DiagnosticStatus.OK, f"{report.state.name}: {report.text}", goal=report.goal_id),
            status(self, "planning", level, fault or self._rate.text, **pace, **ticks, **terms),
        ]

    def _say(self, text: str) -> None:
        self.get_logger().info(text)

    def _measure(self, drafter: Drafter, robot: Robot) -> None:
        """Find out and say what this machine can hold; of servers, the first plans tell."""
        config, rate = self._known(), Rate.assumed(drafter, self._known().pace)
        if self._imagination.model is not None:
            self._say(f"measuring how long a plan takes, on {device.torch_device(config.device)}")
            rate = rate.measured(rehearse(drafter, self._evaluator, self._encoder, robot, config, self._say))
        self._hold(rate)

    def _hold(self, rate: Rate) -> None:
        self._rate = rate
        (self.get_logger().warning if rate.slow else self._say)(rate.text)

    def _timed(self, seconds: float) -> None:
        """A plan was made."""
        if (rate := self._rate.after(seconds)) != self._rate:
            self._hold(rate)

    def _evaluator(self, goal: Goal) -> Overheard:
        return Overheard(self._imagination.evaluator(goal), goal)

    def _on_plan(self, request: PlanToGoal.Request, reply: Reply) -> None:
        try:
            if not self.active:
                raise RefusedError(Code.NOT_READY, "the controller is not active", mend="activate it first")
            asked = planner_messages.goal_request(request)
            ticket = self._reception.admit(asked, self._guard.fault(self._watch.now()))
        except RefusedError as error:
            self.get_logger().warning(f"goal refused: {error.code.name}: {error}")
            reply(planner_messages.refusal(error.code, str(error)))
            return
        self._thread.submit(lambda: reply(self._answer(ticket)))

    def _answer(self, ticket: Ticket) -> PlanToGoal.Response:
        """On the planning thread."""
        try:
            accepted = self._reception.plan(ticket)
            first = accepted.first
            self._timed(first.seconds)
            imagined = self._views.strip(first.draft, first.mission.evaluator)
            self._views.show(first.draft, first.mission.evaluator, imagined)
        except RefusedError as error:
            code, text = error.code, str(error)
        except Exception as error:  # noqa: BLE001 whoever asked must get an answer, and the thread goes on
            code, text = Code.INTERNAL, f"{type(error).__name__}: {error}"
            if self._controller.report.goal_id == ticket.goal_id:  # it may have begun; another one that runs has nothing to do with it
                self._controller.fail(f"a fault in the controller: {text}")
            self.get_logger().error(traceback.format_exc())
        else:
            self._say(f"{ticket.goal_id}: '{accepted.goal.name}' {'begun' if ticket.request.execute else 'planned only'}")
            return planner_messages.acceptance(first, self._frame, imagined)
        self.get_logger().warning(f"goal refused: {code.name}: {text}")
        return planner_messages.refusal(code, text)

    def _put_model(self, imagination: Imagination) -> None:
        """On the planning thread, between two goals; one that cannot plan is not kept."""
        before, self._imagination = self._imagination, imagination
        try:
            self._measure(self._controller.drafter, self._robot)
        except Exception:
            self._imagination = before
            raise

    def _improve(self) -> bool:
        draft = self._controller.improve()
        if draft is not None:
            self._timed(self._controller.report.seconds)
            self._views.show(*draft)
        return draft is not None

    def _on_failed_plan(self, error: Exception) -> None:
        if not isinstance(error, WmError):
            self.get_logger().error("".join(traceback.format_exception(error)))
        self._controller.unplanned(error)

    def _on_cancel(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        asked, zero = self._reception.cancel(), self._controller.cancel()
        self._send(zero)
        response.success = asked or zero is not None
        response.message = "cancelled" if response.success else "nothing was running"
        return response

    def _tick(self) -> None:
        now = self._watch.now()
        self._loop.tick(self._steady.now().nanoseconds * 1e-9)
        self._send(self._controller.tick(now, self._guard.fault(now)))
        if self._controller.running or self._controller.report.state is not self._said:
            self._report()

    def _send(self, step: Step | None) -> None:
        if step is not None:
            validity = self._known().pace.validity
            self._commands.publish(planner_messages.command_message(step, self._watch.now(), self._period, validity, self._frame))

    def _report_idle(self) -> None:
        if not self._controller.running:
            self._report()

    def _report(self) -> None:
        report, source = self._controller.report, self._watch.sight.source
        if report.state is not self._said:
            self._said = report.state
            if report.state is State.FAILED:
                self.get_logger().warning(f"{report.goal_id}: {report.text}")
            elif report.state is not State.EXECUTING:
                self._say(f"{report.goal_id}: {report.text}")
        self._status.publish(planner_messages.status_message(report, source.camera if source else "", self.get_clock().now().to_msg()))


def main() -> None:
    """Run the node."""
    process.run(MpcController, shared_memory=False)
