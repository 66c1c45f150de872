"""What the controller shows of its plans to people, made only while somebody looks: path, candidates, and an imagined strip."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from nav_msgs.msg import Path
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA
from torch import Tensor
from visualization_msgs.msg import Marker, MarkerArray

from wm_core.errors import WmError
from wm_core.planning.bounds import ToolState
from wm_core.planning.draft import Draft, ImaginingEvaluator, SeeingEvaluator
from wm_core.planning.goal import Goal, Picture
from wm_core.planning.model_evaluator import Seen
from wm_core.planning.scores import Fidelity, Pass, Scores
from wm_core.planning.witness import Witness
from wm_core.robot.rotation import Array
from wm_core.vision.decoder import Decoder
from wm_ros.conversions import time_message
from wm_ros.images import image_message
from wm_ros.planner_messages import path_message

SHOWN = 24  # candidates
LINE = 0.002  # m


class Overheard:
    """An evaluator, and what the search asked it last: candidates (N, H, 7) with their distances (N,) to the goal."""

    def __init__(self, inner: ImaginingEvaluator, goal: Goal) -> None:
        self.inner, self.goal = inner, goal
        self.candidates: tuple[Array, Array] | None = None

    def see(self, seen: Seen) -> None:
        self.inner.see(seen)

    def evaluate(self, actions: Array, fidelity: Pass) -> Scores:
        scores = self.inner.evaluate(actions, fidelity)
        if fidelity == "search" and len(actions) > 1:  # a single one is no search, but what standing still is compared with
            self.candidates = actions, scores.goal
        return scores

    def correct(self, witness: Witness) -> None:
        self.inner.correct(witness)

    def distance(self) -> float:
        return self.inner.distance()


class PlanViews:
    """Publishers of ~/plan, ~/candidates and ~/imagined.

    A decoder draws what is imagined on the encoder's own grid; without one, or where none of the fidelities is on that grid, nothing is
    drawn.
    """

    def __init__(self, node: LifecycleNode, frame: str, decoder: Decoder | None, fidelities: dict[Pass, Fidelity]) -> None:
        self._node, self._frame, self._decoder = node, frame, decoder
        self._drawable: Pass | None = next((name for name, fidelity in fidelities.items() if fidelity.grid == 0), None)
        self._plan = node.create_publisher(Path, "~/plan", 1)
        self._candidates = node.create_publisher(MarkerArray, "~/candidates", 1)
        self._imagined = node.create_publisher(Image, "~/imagined", 1)

    def show(self, draft: Draft, evaluator: SeeingEvaluator, strip: Image | None = None) -> None:
        """The newest plan, to whoever looks; its `strip`, where that was made already."""
        if self._plan.get_subscription_count():
            self._plan.publish(path_message(draft.track, draft.begins.tool, self._frame))
        if not isinstance(evaluator, Overheard):
            return
        if self._candidates.get_subscription_count() and evaluator.candidates:
            self._candidates.publish(markers(*evaluator.candidates, draft.begins.tool, self._frame, time_message(draft.track.start)))
        if self._imagined.get_subscription_count():
            strip = self.strip(draft, evaluator) if strip is None else strip
            if strip.data:
                self._imagined.publish(strip)

    def strip(self, draft: Draft, evaluator: SeeingEvaluator) -> Image:
        """Now, what is imagined step by step, and the goal's picture, side by side; an empty image where nothing can be drawn."""
        if self._decoder is None or self._drawable is None or not isinstance(evaluator, Overheard):
            return Image()
        seen, goal = draft.begins.seen, evaluator.goal
        try:
            ahead = evaluator.inner.imagine(draft.plan.actions[None], self._drawable)[0, 0]
        except WmError as error:  # a picture for people ends no goal
            self._node.get_logger().warning(f"nothing to show of the plan: {error}", throttle_duration_sec=10.0)
            return Image()
        frames = drawn(self._decoder, torch.cat([seen.latents[-1:], ahead.cpu()]))
        shown = cv2.resize(goal.picture, frames[0].shape[1::-1], interpolation=cv2.INTER_AREA)
        return image_message(np.concatenate([*frames, shown], axis=1).astype(np.uint8), "", self._node.get_clock().now().to_msg())

    def close(self) -> None:
        for publisher in (self._plan, self._candidates, self._imagined):
            self._node.destroy_publisher(publisher)


def drawn(decoder: Decoder, latents: Tensor) -> list[Picture]:
    """Tokens (T, P, D) as pictures (H, W, 3)."""
    pictures: Any = decoder.pictures(latents.to(decoder.average.device)).permute(0, 2, 3, 1).cpu().numpy()
    return list(pictures)


def markers(actions: Array, distances: Array, tool: ToolState, frame: str, stamp: Time) -> MarkerArray:
    """The best candidates (N, H, 7) as lines of the tool point, green the nearest to the goal, red the farthest of those shown."""
    best = np.argsort(distances, kind="stable")[:SHOWN]
    span = max(float(np.ptp(distances[best])), 1e-12)
    array = MarkerArray(markers=[Marker(action=Marker.DELETEALL)])
    for number, index in enumerate(best):
        share = float(distances[index] - distances[best[0]]) / span
        line = Marker(ns="candidates", id=number, type=Marker.LINE_STRIP, action=Marker.ADD)
        line.header.frame_id, line.header.stamp = frame, stamp
        line.pose.orientation.w, line.scale.x = 1.0, LINE
        line.color = ColorRGBA(r=share, g=1.0 - share, b=0.0, a=1.0)
        places = tool.position + np.concatenate([np.zeros((1, 3)), np.cumsum(actions[index, :, :3], axis=0)])
        line.points = [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in places]
        array.markers.append(line)
    return array
