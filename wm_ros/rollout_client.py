"""A world model in other processes: the evaluator that asks one or several `world_model` nodes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from typing import Any

import numpy as np
from rclpy.client import Client
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from torch import Tensor

from wm_core.errors import PlanningError
from wm_core.planning.goal import Goal
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.goal_request import Code, RefusedError
from wm_core.planning.model_evaluator import Seen
from wm_core.planning.scores import Fidelity, Pass, Scores
from wm_core.planning.split import Split, UnavailableError
from wm_core.planning.witness import Witness
from wm_core.robot.rotation import Array
from wm_ros import rollout_messages
from wm_ros.conversions import seconds
from wm_ros.srv import Rollout

REST = 2.0  # s; when a lost server is tried again
LEISURE = 2.0  # s; what a server may take at the least for its first share, and for what is asked now and then
SAME_STEP = 1e-6  # s; what is left of a step after it went through a message
NOTHING = np.zeros((0, 0, 7))


class RolloutError(PlanningError):
    """A server that refuses, or is not there."""


class RolloutServers:
    """The named world_model nodes, relative to the namespace of `node` or absolute, and how fast each was.

    patience: what a server may take for its share (s); rest: when a lost one is tried again (s).

    Their answers are heard by a node and a thread of its own: asking works from any thread, and while `node` is not spun.
    """

    def __init__(self, node: Node, names: Sequence[str], patience: float, rest: float = REST) -> None:
        self.split = Split(names, time.monotonic, patience, rest, first=LEISURE)
        self.model_hash, self.encoder, self.step = "", ("", ""), 0.0
        self._log, self.patience = node.get_logger(), patience
        self._node = Node(
            f"{node.get_name()}_rollouts",
            context=node.context,
            namespace=node.get_namespace(),
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._clients: dict[str, Client] = {name: self._node.create_client(Rollout, f"{name}/rollout") for name in names}
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="rollouts", daemon=True)
        self._thread.start()

    def connect(self, within: float) -> float:
        """Wait until a server answers, for so many seconds; the time of one step of its model (s), which all have to serve from now on."""
        deadline = time.monotonic() + within
        while True:
            try:
                # Without a context the answer is a refusal, but it tells what serves.
                told = self.split.one(lambda name: _then(self._asked(name, Rollout.Request()), _introduced))
            except UnavailableError:
                if time.monotonic() >= deadline:
                    raise
                threading.Event().wait(0.1)
                continue
            self.model_hash, self.encoder, self.step = told.model_hash, (told.encoder, told.encoder_hash), seconds(told.step)
            return self.step

    def follow(self) -> None:
        """Take the model that all servers who answer have been given since, where none serves the one known here; for between two goals.

        Where they do not agree, the one known here is asked for on, and each of them says why it refuses.
        """
        asked = [_then(self._asked(name, Rollout.Request()), _introduced) for name in self._clients]
        wait(asked, timeout=self.patience)
        told = [future.result() for future in asked if future.done() and not future.exception()]
        for late in asked:
            late.cancel()
        served = {answer.model_hash for answer in told}
        if self.model_hash in served or len(served) != 1:
            return
        steps = {seconds(answer.step) for answer in told}
        if any(abs(step - self.step) > SAME_STEP for step in steps):
            got, allowed = f"{min(steps):g} s", f"{self.step:g} s"
            raise RolloutError("the servers' new model has another step", got=got, allowed=allowed, mend="configure the controller again")
        self.model_hash, self.encoder = served.pop(), (told[0].encoder, told[0].encoder_hash)
        self._log.info(f"the servers were given another model: {self.model_hash[:12]} imagines from now on")

    def require_encoder(self, name: str, weight_hash: str) -> None:
        """Refuse to be asked about the tokens of an encoder that the model which serves does not know."""
        known, known_hash = self.encoder
        if weight_hash != known_hash:
            got, allowed = f"{name} {weight_hash[:12]}", f"{known} {known_hash[:12]}"
            mend = "give controller, encoder and servers the same encoder, or the servers another model"
            raise RefusedError(Code.ENCODER_MISMATCH, "the servers' model knows another encoder", got=got, allowed=allowed, mend=mend)

    def evaluator(self, goal: Goal, distance: GoalDistance, fidelities: dict[Pass, Fidelity], seed: int = 0) -> RolloutEvaluator:
        """As a ModelEvaluator of the model that serves now; should that change, its questions are refused, and no scores are mixed."""
        return RolloutEvaluator(self, goal, distance, fidelities, seed)

    def ask(self, name: str, request: Rollout.Request) -> Future[Rollout.Response]:
        """The answer of one server to come; a refusal is an error."""
        return _then(self._asked(name, request), _accepted)

    def close(self) -> None:
        """End the thread and the clients."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()

    def _asked(self, name: str, request: Rollout.Request) -> Future[Rollout.Response]:
        client, answer = self._clients[name], Future[Rollout.Response]()
        if not client.service_is_ready():
            answer.set_exception(RolloutError("the node does not run", got=client.srv_name))
            return answer
        pending = client.call_async(request)

        def forget(done: Future[Rollout.Response]) -> None:
            if done.cancelled():
                client.remove_pending_request(pending)

        answer.add_done_callback(forget)
        pending.add_done_callback(lambda done: _settle(answer, done.result))
        return answer

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()


class RolloutEvaluator:
    """Candidates judged by servers that hold the same frames: told which, they start from what they have heard themselves.

    A goal travels in float16, as frames do.
    """

    def __init__(
        self, servers: RolloutServers, goal: Goal, distance: GoalDistance, fidelities: dict[Pass, Fidelity], seed: int = 0
    ) -> None:
        self._servers, self._goal, self._fidelities = servers, goal, fidelities
        self._discount, self._seed, self._model_hash = distance.discount, seed, servers.model_hash
        self._seen: Seen | None = None
        self._witness: Witness | None = None

    def see(self, seen: Seen) -> None:
        """Begin from the frame of this stamp, and from what the actions under way will lead to."""
        self._seen, self._witness = seen, None

    def correct(self, witness: Witness) -> None:
        """Every server takes off what the witness shows that its model imagines wrong from here."""
        self._witness = witness

    def evaluate(self, actions: Array, fidelity: Pass) -> Scores:
        """Scores of candidates (N, H, 7)."""
        return self._servers.split.scores(
            actions,
            fidelity,
            lambda name, share: _then(self._servers.ask(name, self._request(share, fidelity, self._witness)), rollout_messages.scores),
        )

    def imagine(self, actions: Array, fidelity: Pass) -> Tensor:
        """Raw latents (seeds, N, H, P, D) of candidates (N, H, 7), as float16 holds them; by one server."""
        request = self._request(actions, fidelity)
        request.want_latents, request.goal.data = True, []
        answer = self._servers.split.one(lambda name: self._servers.ask(name, request), max(LEISURE, self._servers.patience))
        return rollout_messages.frames(answer, (self._fidelities[fidelity].seeds, actions.shape[0], actions.shape[1]))

    def doubt(self, actions: Array) -> float | None:
        """Of the futures that actions (H, 7) lead into, as in wm_core.planning.doubt; by one server, whose model's own bands count."""
        request = self._request(actions[None], "search")
        request.want_doubt, request.goal.data = True, []
        answer = self._servers.split.one(lambda name: self._servers.ask(name, request), max(LEISURE, self._servers.patience))
        return None if answer.doubt < 0.0 else float(answer.doubt)

    def distance(self) -> float:
        """Of the newest frame to the goal on the grid of the search."""
        request = self._request(NOTHING, "search")
        return float(self._servers.split.one(lambda name: self._servers.ask(name, request)).distance)

    def _request(self, actions: Array, fidelity: Pass, witness: Witness | None = None) -> Rollout.Request:
        if self._seen is None:
            raise PlanningError("nothing has been seen yet", got=fidelity, mend="see() the newest frames first")
        how = self._fidelities[fidelity]
        message = rollout_messages.request_message(self._seen, actions, self._goal, self._discount, self._seed, how, witness)
        message.model_hash = self._model_hash
        return message


def _accepted(response: Rollout.Response) -> Rollout.Response:
    if not response.success:
        raise RolloutError(f"refused with code {response.code}: {response.message}")
    return response


def _introduced(response: Rollout.Response) -> Rollout.Response:
    return response if response.model_hash else _accepted(response)


def _then[Before, After](first: Future[Before], make: Callable[[Before], After]) -> Future[After]:
    """What is made of an answer to come; who cancels it cancels the question."""
    result = Future[After]()
    result.add_done_callback(lambda done: done.cancelled() and first.cancel())
    first.add_done_callback(lambda done: _settle(result, lambda: make(done.result())))
    return result


def _settle(future: Future[Any], value: Callable[[], Any]) -> None:
    """Its value or its error, unless nobody waits any more."""
    with suppress(InvalidStateError):
        try:
            found = value()
        except Exception as error:  # noqa: BLE001 every error belongs to whoever waits for the answer
            future.set_exception(error)
        else:
            future.set_result(found)
