"""Scripted motion of the embedded arm for collecting data: random, from waypoint to waypoint, settling at places, and pushing objects.

A motion says where an episode begins and, ten times a second, how the tool moves next. It sees the commanded pose and the objects, and
draws from the generator it is given, so the same seed gives the same episode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wm_core.configuration import setting
from wm_core.robot import rotation
from wm_core.robot.proprioception import DOWN
from wm_core.robot.rotation import Array

Generator = np.random.Generator

CLEARANCE = 0.075  # metres between the tool's way down and the centre of any object
ABOVE_OBJECTS = 0.12  # metres: higher than the fingers need to pass over everything
NEAR_TABLE = 0.08  # metres above the lowest place: where the fingers meet objects


@dataclass(frozen=True)
class MotionLimits:
    """How far the tool goes in one step, and how it may point."""

    step: float = setting("Largest translation in one step", unit="m", low=0.001, high=0.1)
    turn: float = setting("Largest rotation in one step", unit="rad", low=0.0, high=0.5)
    tilt: float = setting("Largest tilt of the tool away from straight down, about x and about y", unit="rad", low=0.0, high=0.4)
    yaw: float = setting("Largest rotation of the tool about the vertical", unit="rad", low=0.0, high=1.5)


@dataclass(frozen=True)
class Space:
    """The box that the tool moves in, (3,) m each, and the limits of one step."""

    low: Array
    high: Array
    limits: MotionLimits

    def draw(self, generator: Generator, objects: Array) -> Array:
        """A pose (4, 4) in the box, pointing down within the limits; a third of them low, where objects are, but none on top of one."""
        low = generator.random() < 1.0 / 3.0
        highest = np.array([*self.high[:2], min(self.low[2] + NEAR_TABLE, self.high[2])]) if low else self.high
        while True:
            position = generator.uniform(self.low, highest)
            clear = np.linalg.norm(objects[:, :2] - position[:2], axis=1) > CLEARANCE
            if position[2] > ABOVE_OBJECTS or clear.all():
                return rotation.pose(position, rotation.matrix(self.draw_turn(generator)) @ DOWN)

    def draw_turn(self, generator: Generator) -> Array:
        limits = self.limits
        return generator.uniform(-1.0, 1.0, 3) * [limits.tilt, limits.tilt, limits.yaw]


@dataclass(frozen=True)
class Situation:
    """What a motion is told: the commanded tool pose (4, 4) and the positions of the objects (n, 3) m."""

    tool: Array
    objects: Array


@dataclass(frozen=True)
class Delta:
    """One step: translation (3,) m and rotation vector (3,) rad in base_link, and the opening that is wanted, 0 closed .. 1 open."""

    translation: Array
    rotation: Array
    gripper: float


class Motion(Protocol):
    """One episode's motion."""

    task: str

    def begin(self, situation: Situation) -> tuple[Array, float]:
        """The pose (4, 4) and opening at which the episode starts."""

    def step(self, situation: Situation) -> Delta:
        """What to do next."""


def towards(goal: Array, tool: Array, step: float, turn: float, gripper: float) -> Delta:
    """Straight towards a pose, at most `step` m and `turn` rad."""
    error = rotation.pose_error(goal, tool)
    return Delta(shortened(error[:3], step), shortened(error[3:], turn), gripper)


def shortened(vector: Array, largest: float) -> Array:
    """The vector, or the one of length `largest` that points the same way."""
    length = float(np.linalg.norm(vector))
    return vector if length <= largest else vector * (largest / length)


class RandomMotion:
    """Smooth random velocities: v' = a v + sqrt(1 - a^2) s n, with the smoothness a and the speed s drawn once per episode."""

    task = "move at random"

    def __init__(self, space: Space, generator: Generator) -> None:
        self._space, self._generator = space, generator
        self._keep = generator.uniform(0.3, 0.9)
        self._speed = generator.uniform(0.3, 0.8)
        self._velocity = generator.normal(size=6)
        self._gripper = float(generator.random() < 0.5)

    def begin(self, situation: Situation) -> tuple[Array, float]:
        return self._space.draw(self._generator, situation.objects), self._gripper

    def step(self, situation: Situation) -> Delta:
        draw, space = self._generator, self._space
        self._velocity = self._keep * self._velocity + np.sqrt(1.0 - self._keep**2) * draw.normal(size=6)
        self._turn_back(situation.tool)
        if draw.random() < 0.04:
            self._gripper = 1.0 - self._gripper
        shift = shortened(self._speed * space.limits.step * self._velocity[:3], space.limits.step)
        turn = shortened(0.5 * self._speed * space.limits.turn * self._velocity[3:], space.limits.turn)
        return Delta(shift, turn, self._gripper)

    def _turn_back(self, tool: Array) -> None:
        """At a border the velocity points inwards, so that an episode does not end pressed against a wall."""
        position, limits = tool[:3, 3], self._space.limits
        turned = rotation.vector(tool[:3, :3] @ DOWN.T)
        largest = np.array([limits.tilt, limits.tilt, limits.yaw])
        place = np.concatenate([position, turned])
        below = place <= np.concatenate([self._space.low, -largest])
        above = place >= np.concatenate([self._space.high, largest])
        self._velocity = np.where(below, np.abs(self._velocity), np.where(above, -np.abs(self._velocity), self._velocity))


class WaypointMotion:
    """Straight lines between random poses at a speed drawn for each, with short rests and a little noise."""

    task = "visit waypoints"

    def __init__(self, space: Space, generator: Generator) -> None:
        self._space, self._generator = space, generator
        self._gripper = float(generator.random() < 0.5)
        self._rest = 0
        self._share = 1.0

    def begin(self, situation: Situation) -> tuple[Array, float]:
        self._next(situation)
        return self._space.draw(self._generator, situation.objects), self._gripper

    def step(self, situation: Situation) -> Delta:
        if self._rest > 0:
            self._rest -= 1
            return Delta(np.zeros(3), np.zeros(3), self._gripper)
        limits = self._space.limits
        delta = towards(self._goal, situation.tool, self._share * limits.step, limits.turn, self._gripper)
        if np.linalg.norm(rotation.pose_error(self._goal, situation.tool)) < 0.02:
            self._next(situation)
        noise = self._generator.normal(size=3) * 0.06 * limits.step
        return Delta(shortened(delta.translation + noise, limits.step), delta.rotation, self._gripper)

    def _next(self, situation: Situation) -> None:
        draw = self._generator
        self._goal = self._space.draw(draw, situation.objects)
        self._share = draw.uniform(0.4, 1.0)
        self._rest = int(draw.integers(1, 5)) if draw.random() < 0.2 else 0
        self._gripper = 1.0 - self._gripper if draw.random() < 0.3 else self._gripper


class SettlingMotion:
    """Come to a place from a little way off, ever slower, and stay there with small corrections, as an arm does that nears its goal.

    Each row goes a share of the way that is left; where a few rows later the tool is near, another place close by is drawn.
    """

    AROUND = (0.10, 0.02)  # metres from the first place, and from one place to the next, at most
    TURNED = (0.3, 0.05)  # the same in shares of the largest turns

    task = "settle at a place"

    def __init__(self, space: Space, generator: Generator) -> None:
        self._space, self._generator = space, generator
        self._gripper = float(generator.random() < 0.5)
        self._share = generator.uniform(0.15, 0.6)
        self._left = 0  # rows until another place is drawn

    def begin(self, situation: Situation) -> tuple[Array, float]:
        self._goal = self._space.draw(self._generator, situation.objects)
        begin = self._near(self._goal, self.AROUND[0], self.TURNED[0])
        self._stay()
        return begin, self._gripper

    def step(self, situation: Situation) -> Delta:
        if self._left == 0:
            self._goal = self._near(self._goal, self.AROUND[1], self.TURNED[1])
            self._stay()
        self._left -= 1
        limits, error = self._space.limits, rotation.pose_error(self._goal, situation.tool)
        return Delta(shortened(self._share * error[:3], limits.step), shortened(self._share * error[3:], limits.turn), self._gripper)

    def _stay(self) -> None:
        self._left = int(self._generator.integers(4, 12))

    def _near(self, pose: Array, way: float, turn: float) -> Array:
        """A pose at most `way` m along each axis from another one, in the box, and turned by a share of the largest turns."""
        place = pose[:3, 3] + self._generator.uniform(-way, way, 3)
        turned = rotation.matrix(turn * self._space.draw_turn(self._generator)) @ pose[:3, :3]
        return rotation.pose(np.clip(place, self._space.low, self._space.high), turned)


class PushMotion:
    """Push an object through its middle, draw back, and push again, another object or another way; the fingers stay closed.

    A push begins STANDOFF behind the object's centre, at HEIGHTS above the table, and follows the object as it moves.
    """

    STANDOFF = 0.085
    HEIGHTS = (0.022, 0.045)
    LIFT = 0.16

    def __init__(self, space: Space, generator: Generator, names: tuple[str, ...]) -> None:
        self._space, self._generator = space, generator
        self._which = int(generator.integers(len(names)))
        self.task = f"push the {names[self._which]}"
        self._plan: list[Array] = []  # poses still to visit, (4, 4) each

    def begin(self, situation: Situation) -> tuple[Array, float]:
        _above, start, *self._plan = self._poses(situation)
        noise = np.concatenate([self._generator.normal(size=2) * 0.01, [self._generator.uniform(0.0, 0.05)]])
        start = rotation.pose(np.clip(start[:3, 3] + noise, self._space.low, self._space.high), start[:3, :3])
        return start, 0.0

    def step(self, situation: Situation) -> Delta:
        limits = self._space.limits
        if not self._plan:
            self._which = int(self._generator.integers(len(situation.objects)))
            self._plan = self._poses(situation)
        delta = towards(self._plan[0], situation.tool, self._share * limits.step, limits.turn, 0.0)
        if np.linalg.norm(self._plan[0][:3, 3] - situation.tool[:3, 3]) < 0.012:
            self._plan.pop(0)
        noise = self._generator.normal(size=3) * 0.05 * limits.step
        return Delta(shortened(delta.translation + noise, limits.step), delta.rotation, 0.0)

    def _poses(self, situation: Situation) -> list[Array]:
        """Four poses: above the start of the push, at it, at its end, and lifted again."""
        draw = self._generator
        self._share = draw.uniform(0.5, 1.0)
        height = draw.uniform(*self.HEIGHTS)
        start, end = self._line(situation.objects)
        turned = rotation.matrix(self._space.draw_turn(draw) * [0.5, 0.5, 1.0]) @ DOWN
        lifted = min(self.LIFT, float(self._space.high[2]))
        places = [[*start, lifted], [*start, height], [*end, height], [*end, lifted]]
        return [rotation.pose(np.clip(place, self._space.low, self._space.high), turned) for place in places]

    def _line(self, objects: Array) -> tuple[Array, Array]:
        """Where the tool begins and ends in the plane, (2,) m each: through the object, inside the box, clear of the other objects."""
        draw, centre = self._generator, objects[self._which, :2]
        others = np.delete(objects[:, :2], self._which, axis=0)
        low, high = self._space.low[:2], self._space.high[:2]
        for _ in range(60):
            angle = draw.uniform(-np.pi, np.pi)
            way = np.array([np.cos(angle), np.sin(angle)])
            start = centre - self.STANDOFF * way
            end = centre + draw.uniform(0.04, 0.16) * way
            inside = np.all(start >= low) and np.all(start <= high) and np.all(end >= low) and np.all(end <= high)
            if inside and all(np.linalg.norm(start - other) > CLEARANCE for other in others):
                return start, end
        middle = 0.5 * (low + high)
        way = shortened(middle - centre, 1.0)
        way = way / max(float(np.linalg.norm(way)), 1e-6)
        return np.clip(centre - self.STANDOFF * way, low, high), np.clip(centre + 0.1 * way, low, high)


def kinds(names: tuple[str, ...]) -> dict[str, Callable[[Space, Generator], Motion]]:
    """How each kind of motion is made, for objects of these names."""
    return {
        "random": RandomMotion,
        "waypoint": WaypointMotion,
        "pushing": lambda space, generator: PushMotion(space, generator, names),
        "settling": SettlingMotion,
    }
