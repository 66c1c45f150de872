"""The service `~/load_model` of the controller: another world model takes the place of the one it imagines with, between two goals."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

from wm_core import device
from wm_core.errors import WmError
from wm_core.planning import served_model
from wm_core.planning.controller_config import ControllerConfig
from wm_core.planning.planner_config import PlannerConfig
from wm_core.planning.planning_thread import PlanningThread
from wm_core.planning.served_model import LoadCode, LoadError
from wm_ros.deferred_service import Reply, offer
from wm_ros.imagination import Imagination, imagination_of
from wm_ros.lifecycle import WmNode
from wm_ros.srv import LoadModel


class LoadModelService:
    """Made in `activate`, whose end ends it. It loads on the planning thread, so no plan sees half of it.

    `put` takes a model into use, or raises and leaves the old one in use.
    """

    def __init__(
        self,
        node: WmNode[ControllerConfig],
        config: ControllerConfig,
        planner: PlannerConfig,
        thread: PlanningThread,
        now: Callable[[], Imagination],
        busy: Callable[[], bool],
        put: Callable[[Imagination], None],
    ) -> None:
        self._node, self._config, self._planner, self._thread = node, config, planner, thread
        self._now, self._busy, self._put = now, busy, put
        offer(node, LoadModel, "~/load_model", self._on_load)

    def _on_load(self, request: LoadModel.Request, reply: Reply) -> None:
        refusal = self._refusal()
        if refusal:
            reply(LoadModel.Response(code=int(LoadCode.NOT_READY), message=refusal))
        else:
            self._thread.submit(lambda: reply(self._exchanged(Path(request.checkpoint).expanduser())))

    def _refusal(self) -> str:
        if self._now().model is None:
            return "the controller imagines with servers; call load_model of each of them, and the next goal takes what all serve"
        return "a goal is running; wait for its end, or call ~/cancel" if self._busy() else ""

    def _exchanged(self, folder: Path) -> LoadModel.Response:
        """On the planning thread; the old model stays until the new one has been tried out."""
        try:
            config = self._config
            where, precision = device.torch_device(config.device), device.PRECISIONS[config.precision]
            old = self._now()
            model = served_model.opened(folder, where, precision, self._planner.engine, old.model)
            self._try(imagination_of(model, self._planner))
            old.close()
            code, message = LoadCode.SUCCESS, f"{model.hash[:12]} serves"
        except LoadError as error:
            code, message = error.code, str(error)
        except Exception as error:  # noqa: BLE001 a checkpoint may be wrong in ways that nobody thought of; the old one stays
            code, message = LoadCode.INVALID, f"{type(error).__name__}: {error}"
            self._node.get_logger().error(traceback.format_exc())
        self._node.get_logger().info(f"{folder}: {message}")
        return LoadModel.Response(success=code is LoadCode.SUCCESS, code=int(code), message=message)

    def _try(self, imagination: Imagination) -> None:
        """In its place, if plans can be made with it."""
        try:
            self._put(imagination)
        except Exception as error:
            imagination.close()
            if isinstance(error, WmError):
                raise LoadError(LoadCode.SELF_CHECK_FAILED, error) from error
            raise
