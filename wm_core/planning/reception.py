"""Where goals are asked for: what may be begun is begun, and everything else is answered with a code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from wm_core.errors import WmError
from wm_core.planning.controller import Controller, First, Mission, State
from wm_core.planning.draft import Draft, SeeingEvaluator
from wm_core.planning.goal import Goal
from wm_core.planning.goal_library import GoalLibrary
from wm_core.planning.goal_request import Code, GoalRequest, RefusedError, find_goal
from wm_core.planning.model_evaluator import Seen
from wm_core.planning.pursuit import PursuitConfig
from wm_core.robot.rotation import Array
from wm_core.vision.encoder import Encoder


@dataclass(frozen=True)
class Ticket:
    """A request that was let in: its number, and how many times everything had been cancelled until then."""

    request: GoalRequest
    goal_id: str
    cancelled: int


@dataclass(frozen=True)
class Accepted:
    """A goal, with its first plan."""

    goal: Goal
    first: First


@dataclass
class Reception:
    """`admit` is quick; `plan` encodes the goal and plans, on the planning thread.

    `evaluators` makes the model's view of a goal, `doubt` tells how far a model is from what it was calibrated on (None: not known).
    """

    controller: Controller
    encoder: Encoder
    library: GoalLibrary
    evaluators: Callable[[Goal], SeeingEvaluator]
    doubt: Callable[[Goal, Seen, Array], float | None]
    pursuit: PursuitConfig
    largest_doubt: float
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _count: int = 0
    _pending: int = 0
    _cancelled: int = 0

    @property
    def busy(self) -> bool:
        """Whether a goal is pursued, or one that was let in waits for its first plan."""
        with self._lock:
            return bool(self._pending) or self.controller.running

    def admit(self, request: GoalRequest, guard_fault: str) -> Ticket:
        """Let a request in, or refuse it; `guard_fault` is why the arm cannot be commanded."""
        controller = self.controller
        with self._lock:
            if not request.replace and (self._pending or controller.running):
                running = controller.report.goal_id or "another request"
                raise RefusedError(
                    Code.BUSY, "a goal is running", got=running, allowed="one goal at a time", mend="ask with replace, or ~/cancel"
                )
            fault = controller.sight.fault(controller.trust, controller.now())
            if fault:
                raise RefusedError(Code.OBSERVATION_STALE, fault)
            source = controller.sight.source
            if source is not None and source.encoder_hash != self.encoder.weight_hash:
                got, allowed = (f"{name} {known[:12]}" for name, known in ((source.encoder, source.encoder_hash), self._known()))
                what = "the running encoder is not the controller's"
                raise RefusedError(Code.ENCODER_MISMATCH, what, got=got, allowed=allowed, mend="give both the same encoder")
            if request.execute and guard_fault:
                raise RefusedError(Code.NOT_ARMED, guard_fault, mend="call safety_guard/arm")
            self._count, self._pending = self._count + 1, self._pending + 1
            ticket = Ticket(request, f"goal-{self._count}", self._cancelled)
        controller.announce(State.PLANNING, "the goal is accepted, its first plan is made", ticket.goal_id)
        return ticket

    def plan(self, ticket: Ticket) -> Accepted:
        """The first plan; where it shall be executed, that has begun."""
        try:
            return self._planned(ticket)
        except Exception as error:
            text = str(error) if isinstance(error, WmError) else f"{type(error).__name__}: {error}"
            self.controller.announce(State.FAILED, f"refused: {text}", ticket.goal_id)
            raise
        finally:
            with self._lock:
                self._pending -= 1

    def cancel(self) -> bool:
        """Nothing that was asked for until now is begun any more; whether there was something."""
        with self._lock:
            self._cancelled += 1
            return self._pending > 0

    def _known(self) -> tuple[str, str]:
        return self.encoder.name, self.encoder.weight_hash

    def _planned(self, ticket: Ticket) -> Accepted:
        controller, request = self.controller, ticket.request
        self._require_wanted(ticket)
        source = controller.sight.source
        goal = find_goal(request, self.encoder, self.library, source.camera if source else "")
        try:
            pursuit, unsure = request.pursuit(self.pursuit), lambda draft: str(self._uncertain(goal, draft) or "")
            mission = Mission(ticket.goal_id, self.evaluators(goal), pursuit, unsure)
            first = controller.first(mission)
            uncertain = self._uncertain(goal, first.draft)
        except RefusedError:
            raise
        except WmError as error:
            raise RefusedError.of(Code.MODEL_UNAVAILABLE, error) from error
        if uncertain is not None:
            raise uncertain
        with self._lock:
            self._require_wanted(ticket)
            if request.execute:
                controller.begin(first)
            else:
                controller.end(State.CANCELLED, "replaced by a goal that is only planned")
                controller.announce(State.IDLE, "planned only; nothing moves", ticket.goal_id)
        return Accepted(goal, first)

    def _require_wanted(self, ticket: Ticket) -> None:
        if ticket.cancelled != self._cancelled:
            raise RefusedError(Code.NOT_READY, "cancelled before the first plan was made", mend="ask again")

    def _uncertain(self, goal: Goal, draft: Draft) -> RefusedError | None:
        """Why this plan is not to be trusted; None where it is, or where that is not known or not asked."""
        doubt = self.doubt(goal, draft.begins.seen, draft.plan.actions) if self.largest_doubt else None
        if doubt is None or doubt <= self.largest_doubt:
            return None
        return RefusedError(
            Code.UNCERTAIN,
            "the model does not know its way here: its futures, or what it makes of the last steps, are worse than where it was calibrated",
            got=f"{doubt:.2f} times",
            allowed=f"at most {self.largest_doubt:g} times",
            mend="are camera and light as in training, is anything new in sight? else fine-tune, or raise doubt",
        )
