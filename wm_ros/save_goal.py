"""Service ~/save_goal: keeps a picture, or what the camera sees, in the goal library."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

from wm_core.errors import WmError
from wm_core.planning.goal import Picture, goal_of_picture, masked
from wm_core.planning.goal_library import GoalLibrary
from wm_core.planning.planning_thread import PlanningThread
from wm_core.vision.encoder import Encoder
from wm_ros.current_view import CurrentView
from wm_ros.deferred_service import Reply, offer
from wm_ros.images import given, mask, picture
from wm_ros.lifecycle import WmNode
from wm_ros.srv import SaveGoal

VIEW_PATIENCE = 2.0  # s


class SaveGoalService:
    """Made in `activate`, whose end ends it; pictures are encoded on the planning thread."""

    def __init__(self, node: WmNode[Any], encoder: Encoder, library: GoalLibrary, thread: PlanningThread) -> None:
        self._node, self._encoder, self._library, self._thread = node, encoder, library, thread
        offer(node, SaveGoal, "~/save_goal", self._on_request)

    def _on_request(self, request: SaveGoal.Request, reply: Reply) -> None:
        def keep(shown: Picture | WmError) -> None:
            self._thread.submit(lambda: reply(self._saved(request, shown)))

        if not given(request.image):
            CurrentView(self._node, VIEW_PATIENCE, keep)
            return
        try:
            keep(picture(request.image))
        except WmError as error:
            keep(error)

    def _saved(self, request: SaveGoal.Request, shown: Picture | WmError) -> SaveGoal.Response:
        try:
            if isinstance(shown, WmError):
                raise shown
            goal, counts = goal_of_picture(self._encoder, shown, request.name), mask(request.mask)
            place = self._library.save(goal if counts is None else masked(goal, counts, self._encoder.preprocessing))
        except WmError as error:
            self._node.get_logger().warning(f"goal not kept: {error}")
            return SaveGoal.Response(success=False, message=str(error))
        except Exception as error:  # noqa: BLE001 whoever asked must get an answer
            self._node.get_logger().error(traceback.format_exc())
            return SaveGoal.Response(success=False, message=f"{type(error).__name__}: {error}")
        self._node.get_logger().info(f"goal '{request.name}' is kept in {place}")
        return SaveGoal.Response(success=True, message=str(place))


def goals_folder(configured: str) -> Path:
    """Where the goal library is: as configured, or with this user's data."""
    data = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    return Path(configured).expanduser() if configured else data / "wm_ros" / "goals"
