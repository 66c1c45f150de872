"""Node `world_model`: a rollout server, which imagines what actions lead to for controllers in other processes or on other machines."""

from __future__ import annotations

import threading
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from wm_core import device
from wm_core.cli import shipped
from wm_core.errors import PlanningError, WmError
from wm_core.planning import served_model
from wm_core.planning.history import History
from wm_core.planning.imaginer import ContextError, Imaginer, MismatchError, ripe, seen_at
from wm_core.planning.model_evaluator import Seen
from wm_core.planning.rollout_config import RolloutConfig
from wm_core.planning.served_model import LoadCode, LoadError
from wm_core.vision.decoder import Decoder, load_decoder
from wm_core.vision.encoder import Encoder
from wm_core.world_model.world_model import WorldModel
from wm_ros import process, robot_description, rollout_messages
from wm_ros.conversions import duration_message, seconds, time_message
from wm_ros.deferred_service import Reply, offer
from wm_ros.diagnostics import Stream
from wm_ros.images import Picture, image_message
from wm_ros.lifecycle import WmNode, status
from wm_ros.plan_views import drawn
from wm_ros.srv import LoadModel, Rollout
from wm_ros.watch import Watch

KEPT = 6.0  # s of frames and readings beside those of a context: on a busy machine first questions come seconds after what they start from
GLANCE = 0.005  # s between two looks for what is on its way
CODES: dict[type[WmError], int] = {ContextError: Rollout.Response.CONTEXT_MISSING, MismatchError: Rollout.Response.MODEL_MISMATCH}


@dataclass(frozen=True)
class _Named:
    """As much of an encoder as a decoder asks for."""

    name: str
    weight_hash: str


class WorldModelNode(WmNode[RolloutConfig]):
    """Messages are heard all the time; one thread imagines, question by question, and another one loads."""

    def __init__(self) -> None:
        super().__init__("world_model", RolloutConfig, "world_model.yaml")
        robot_description.declare(self)

    def own_parameters(self) -> tuple[str, ...]:
        return (*super().own_parameters(), *robot_description.PARAMETERS)

    def configure(self, config: RolloutConfig) -> None:
        _, robot = robot_description.load(self)
        if config.threads:
            torch.set_num_threads(config.threads)
        self._device = device.torch_device(config.device)
        folder = Path(config.world_model).expanduser() if config.world_model else shipped.model("world_model")
        model = served_model.opened(folder, self._device, device.PRECISIONS[config.precision], config.engine)
        self._imaginer, self._decoder = Imaginer(model), self._load_decoder(config, model)
        self._watch = Watch(self, robot.kinematics, config.opening, config.frames * self._step(model) + KEPT)
        self._questions, self._milliseconds, self._refused = Stream(), 0.0, ""
        self._strip: Image | None = None
        self._showing: Future[None] | None = None
        self._imagined = self.create_publisher(Image, "~/imagined", 1)
        self._offered = [offer(self, Rollout, "~/rollout", self._on_rollout), offer(self, LoadModel, "~/load_model", self._on_load)]

    def activate(self) -> None:
        self._imagining, self._loading = ThreadPoolExecutor(1, "imagining"), ThreadPoolExecutor(1, "loading")
        self._arrival = threading.Event()
        self._watch.subscribe(self._arrival.set)
        self.create_timer(self._known().period, self._show)

    def deactivate(self) -> None:
        self._loading.shutdown()
        self._imagining.shutdown()

    def cleanup(self) -> None:
        for service in self._offered:
            self.destroy_service(service)
        self.destroy_publisher(self._imagined)
        self._imaginer.model.close()

    def diagnose(self) -> list[DiagnosticStatus]:
        model, now = self._imaginer.model, self._steady.now().nanoseconds * 1e-9
        fault = self._stranger(model)
        level = DiagnosticStatus.ERROR if fault else DiagnosticStatus.WARN if self._refused else DiagnosticStatus.OK
        numbers = {"rate": f"{self._questions.rate(now):.1f}", "milliseconds": f"{self._milliseconds:.1f}", "model": model.hash[:12]}
        numbers |= {"encoder": f"{model.provenance.encoder} {model.provenance.encoder_hash[:12]}", "asked": str(self._questions.count)}
        return [status(self, "rollouts", level, fault or self._refused or "serving", **numbers)]

    def _on_rollout(self, request: Rollout.Request, reply: Reply) -> None:
        if not self.active:
            reply(Rollout.Response(code=Rollout.Response.NOT_READY, message="the node is not active; activate it first"))
            return
        self._questions.arrived(self._steady.now().nanoseconds * 1e-9)
        self._imagining.submit(self._answer, request, reply).add_done_callback(self._complain)

    def _answer(self, request: Rollout.Request, reply: Reply) -> None:
        """In the thread that imagines."""
        began, response, imaginer = time.perf_counter(), Rollout.Response(), self._imaginer
        response.model_hash, response.step = imaginer.model.hash, duration_message(self._step(imaginer.model))
        response.encoder, response.encoder_hash = imaginer.model.provenance.encoder, imaginer.model.provenance.encoder_hash
        try:
            imaginer.require(request.model_hash)
            self._imagine(imaginer, request, response)
            response.success, self._refused = True, ""
        except WmError as error:
            code = CODES.get(type(error), Rollout.Response.INVALID)
            response.code, response.message = code, str(error)
        except Exception as error:  # noqa: BLE001 whatever is wrong with one question, the next is answered
            response.code, response.message = Rollout.Response.INTERNAL, f"{type(error).__name__}: {error}"
            self.get_logger().error(traceback.format_exc())
        if not response.success:
            self._refused = response.message
            self.get_logger().warning(f"a rollout was refused: {response.message}", throttle_duration_sec=2.0)
        took = time.perf_counter() - began
        self._milliseconds, response.time = 1e3 * took, duration_message(took)
        reply(response)

    def _imagine(self, imaginer: Imaginer, request: Rollout.Request, response: Rollout.Response) -> None:
        question, model = rollout_messages.question(request), imaginer.model
        question.require_sane(self._known().largest)
        if request.want_images and (self._decoder is None or request.grid):
            got = f"grid {request.grid}, {'no ' if self._decoder is None else ''}decoder"
            raise PlanningError("nothing can be drawn", got=got, allowed="a decoder, and grid 0", mend="decoder in config/world_model.yaml")
        seen = self._seen(model, request)
        answer = imaginer.answer(question, seen)
        rollout_messages.fill(response, answer, bool(request.want_latents), model, question)
        if request.want_images and answer.frames is not None:
            pictures = self._drawn(torch.cat([seen.latents[-1:], answer.frames[0, 0].cpu()]))
            stamp = time_message(seen.stamp)
            response.images = [image_message(picture, self._camera(), stamp) for picture in pictures[1:]]
            self._strip = image_message(np.concatenate(pictures, axis=1), self._camera(), stamp)

    def _seen(self, model: WorldModel, request: Rollout.Request) -> Seen:
        """The context of a request."""
        stamp, committed = seconds(request.context_stamp) or None, rollout_messages.committed(request)
        history, fault = self._history(stamp, not len(request.context_checks)), self._stranger(model)
        if fault:
            raise ContextError(fault)
        held = seen_at(history, stamp, int(request.frames) or self._known().frames, self._step(model), committed)
        return rollout_messages.agreed(request, held)

    def _history(self, stamp: float | None, with_reading: bool) -> History:
        """All that is known; what is on its way is waited for."""
        end = time.monotonic() + self._known().wait
        while True:
            self._arrival.clear()
            history = self._watch.sight.view().history
            if stamp is None or ripe(history, stamp, with_reading) or time.monotonic() >= end:
                return history
            self._arrival.wait(GLANCE)

    def _stranger(self, model: WorldModel) -> str:
        """What is wrong with the frames that come in; empty: nothing, or there are none."""
        source, own = self._watch.sight.source, model.provenance
        if source is None or source.encoder_hash == own.encoder_hash:
            return ""
        theirs = f"{source.encoder} {source.encoder_hash[:12]}"
        return f"the latents are of another encoder; got: {theirs}; allowed: {own.encoder} {own.encoder_hash[:12]}; mend: run that encoder"

    def _on_load(self, request: LoadModel.Request, reply: Reply) -> None:
        if not self.active:
            reply(LoadModel.Response(code=int(LoadCode.NOT_READY), message="the node is not active; activate it first"))
            return
        self._loading.submit(self._exchange, Path(request.checkpoint).expanduser(), reply).add_done_callback(self._complain)

    def _exchange(self, folder: Path, reply: Reply) -> None:
        """In the thread that loads; rollouts of the old model go on until the new one is ready."""
        try:
            config, running = self._known(), self._imaginer.model
            model = served_model.opened(folder, self._device, device.PRECISIONS[config.precision], config.engine, running)
            self._imagining.submit(self._swap, model).result()
            code, message = LoadCode.SUCCESS, f"{model.hash[:12]} serves"
        except LoadError as error:
            code, message = error.code, str(error)
        except Exception as error:  # noqa: BLE001 a checkpoint may be wrong in ways that nobody thought of; the old one serves on
            code, message = LoadCode.INVALID, f"{type(error).__name__}: {error}"
            self.get_logger().error(traceback.format_exc())
        self.get_logger().info(f"{folder}: {message}")
        reply(LoadModel.Response(success=code is LoadCode.SUCCESS, code=int(code), message=message))

    def _swap(self, model: WorldModel) -> None:
        """Between two questions."""
        old, self._imaginer = self._imaginer, Imaginer(model)
        old.model.close()

    def _show(self) -> None:
        if self._decoder is None or not self._imagined.get_subscription_count():
            return
        if self._showing is None or self._showing.done():
            self._showing = self._imagining.submit(self._publish_strip)
            self._showing.add_done_callback(self._complain)

    def _publish_strip(self) -> None:
        """What was asked for since the last time, or else standing still."""
        strip, self._strip = self._strip, None
        if strip is None:
            try:
                self._imagine(self._imaginer, self._stillness(), Rollout.Response())
            except WmError as error:
                self.get_logger().warning(f"nothing to show: {error}", throttle_duration_sec=10.0)
            strip, self._strip = self._strip, None
        if strip is not None:
            self._imagined.publish(strip)

    def _stillness(self) -> Rollout.Request:
        told = self._watch.sight.view().history.last_reading
        still = np.zeros((self._known().shown, 7))
        still[:, 6] = self._known().opening if told is None else told.gripper
        return Rollout.Request(actions=rollout_messages.floats(still), samples=1, horizon=len(still), want_images=True)

    def _drawn(self, latents: torch.Tensor) -> list[Picture]:
        return [] if self._decoder is None else drawn(self._decoder, latents)

    def _load_decoder(self, config: RolloutConfig, model: WorldModel) -> Decoder | None:
        drawer = shipped.decoder(config.decoder, config.world_model)
        if drawer is None:
            return None
        own = _Named(model.provenance.encoder, model.provenance.encoder_hash)
        return load_decoder(drawer, cast(Encoder, own), self._device)

    def _complain(self, done: Future[None]) -> None:
        """What is raised in a thread beside its answers."""
        if done.exception() is not None:
            self.get_logger().error(f"while imagining: {done.exception()!r}")

    def _camera(self) -> str:
        source = self._watch.sight.source
        return "" if source is None else source.camera

    def _step(self, model: WorldModel) -> float:
        """Seconds of a step of the model; `opened` has made sure that it is told."""
        return 1.0 / cast(float, model.fps)


def main() -> None:
    """Run the node."""
    process.run(WorldModelNode, shared_memory=False)
