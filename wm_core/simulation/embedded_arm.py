"""The embedded arm: physics, commands, watchdog and cameras behind one class that knows neither ROS nor the wall clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from wm_core.errors import SimulationError, nearest
from wm_core.robot import rotation
from wm_core.robot.rotation import Array
from wm_core.simulation import arm, scene
from wm_core.simulation.camera import Intrinsics, Picture, RayCamera
from wm_core.simulation.kinematics import ArmKinematics
from wm_core.simulation.sim_config import SimConfig
from wm_core.simulation.tool_motion import ToolMotion, held_inside, moved

FRAMES = ("base_link", "tool0")
POSITION_LIMITS = np.array([segment.limit for segment in arm.SEGMENTS])
VELOCITY_LIMITS = np.array([segment.velocity for segment in arm.SEGMENTS])
LARGEST_SHIFT = 2.0  # metres per command: more than the arm is long; of rotation, half a turn is all that a vector can tell apart
STATE = mujoco.mjtState.mjSTATE_INTEGRATION


@dataclass(frozen=True)
class Commanded:
    """What the arm was told last: a motion of the tool or joint velocities (6,) rad/s, or neither when it is at rest."""

    targets: Array  # (6,) rad
    gripper: float  # 0 closed .. 1 open
    until: int  # the physics step at which the watchdog stops the arm
    motion: ToolMotion | None = None
    velocity: Array | None = None


@dataclass(frozen=True)
class Snapshot:
    """One instant of an arm, from which it goes on exactly as it did the first time."""

    physics: Array
    steps: int
    commanded: Commanded


class EmbeddedArm:
    """A UR5e-like arm with a gripper over a table with a cube and a cylinder.

    Two of them with the same configuration and seed, given the same commands at the same simulated times, are equal byte for byte, in
    state and in pictures. All poses are 4x4 in base_link, which is also the world. Joint arrays are in the order of `joint_names`.
    """

    joint_names = arm.JOINTS

    def __init__(self, config: SimConfig, seed: int | None = None) -> None:
        _validate(config)
        self.config = config
        self._model = scene.build(config.scene, config.physics_step)
        self._data = mujoco.MjData(self._model)
        self._kinematics = ArmKinematics()
        self._low, self._high = np.array(config.workspace.low), np.array(config.workspace.high)
        self._timeout = round(config.command_timeout / config.physics_step)
        self._cameras = {name: RayCamera(self._model, name, config.width, config.height, config.shadows) for name in scene.CAMERAS}
        self._site = self._model.site("tool0").id
        self.reset(config.seed if seed is None else seed)

    def reset(self, seed: int) -> None:
        """Begin again at time 0: the arm at home with an open gripper, the objects where `seed` puts them."""
        layout = scene.draw_layout(np.random.default_rng(_seed(seed)))
        home = np.array(self.config.home)
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:6] = home
        self._data.qpos[6:8] = arm.FINGER_TRAVEL
        for name, (x, y, yaw) in zip(scene.OBJECTS, layout, strict=True):
            self._data.joint(name).qpos = [x, y, scene.object_height(name), np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        self._steps = 0
        self._commanded = Commanded(home, gripper=1.0, until=0)
        self._write_targets()
        self._stale = True

    def command_delta(
        self, translation: ArrayLike, rotation: ArrayLike, gripper: float | None, step_seconds: float, frame: str = "base_link"
    ) -> None:
        """Move the commanded tool further by a translation (3,) m and a rotation vector (3,) rad in `frame`, evenly over `step_seconds`.

        What an earlier command still had to do is done within this step too, so that the sum of all deltas is exact. The position is
        clipped to the workspace. gripper: 0 closed .. 1 open; None leaves it as it is.
        """
        shift, turn = _vector("translation", translation, 3, LARGEST_SHIFT), _vector("rotation", rotation, 3, np.pi)
        opening = self._commanded.gripper if gripper is None else _number("gripper", gripper, 0.0, 1.0)
        duration = _number("step_seconds", step_seconds, self.config.physics_step, 10.0)
        _known("frame", frame, FRAMES)
        now = self.time
        motion = self._commanded.motion or ToolMotion.rest(self._kinematics.forward(self._commanded.targets), now)
        goal = held_inside(moved(motion.goal, shift, turn, frame == "tool0"), motion.goal, self._low, self._high)
        self._take(Commanded(self._commanded.targets, opening, self._steps + self._timeout, motion=motion.extended(now, goal, duration)))

    def command_joint_velocity(self, velocity: ArrayLike) -> None:
        """Hold joint velocities (6,) rad/s until the next command or the watchdog; beyond a joint's limit it goes at its limit."""
        held = np.clip(_vector("joint velocity", velocity, 6, np.inf), -VELOCITY_LIMITS, VELOCITY_LIMITS)
        self._take(Commanded(self._commanded.targets, self._commanded.gripper, self._steps + self._timeout, velocity=held))

    def command_gripper(self, opening: float) -> None:
        """Open or close the gripper (0 closed .. 1 open) without moving the arm; the watchdog is not fed by it."""
        before = self._commanded
        opening = _number("gripper", opening, 0.0, 1.0)
        self._take(Commanded(before.targets, opening, before.until, before.motion, before.velocity))

    def stop(self) -> None:
        """Drop what is left to do and hold the joint targets."""
        self._take(Commanded(self._commanded.targets, self._commanded.gripper, self._steps))

    def advance(self, seconds: float) -> None:
        """Simulate for `seconds`, a whole number of physics steps."""
        steps = round(_number("seconds", seconds, 0.0, 3600.0) / self.config.physics_step)
        if abs(steps * self.config.physics_step - seconds) > 1e-6:
            raise SimulationError(
                "the time to advance is not a whole number of physics steps",
                got=f"{seconds} s",
                allowed=f"multiples of {self.config.physics_step} s",
                mend="change the call, or physics_step in config/sim_arm.yaml",
            )
        end = self._steps + steps
        while self._steps < end:
            self._control()
            until = end if self.at_rest_commanded else min(end, self._next_control())
            mujoco.mj_step(self._model, self._data, nstep=until - self._steps)
            self._steps = until
        self._stale = True

    @property
    def time(self) -> float:
        """Simulated time since the last reset, s."""
        return self._steps * self.config.physics_step

    @property
    def at_rest_commanded(self) -> bool:
        """Whether nothing is left to do: the joint targets do not move."""
        return self._commanded.motion is None and self._commanded.velocity is None

    @property
    def joint_positions(self) -> Array:
        """(6,) rad."""
        return self._data.qpos[:6].copy()

    @property
    def joint_velocities(self) -> Array:
        """(6,) rad/s."""
        return self._data.qvel[:6].copy()

    @property
    def joint_targets(self) -> Array:
        """(6,) rad: where the actuators pull the joints to."""
        return self._commanded.targets.copy()

    @property
    def finger_positions(self) -> Array:
        """(2,) m, in the order of arm.FINGER_JOINTS: 0 closed .. arm.FINGER_TRAVEL open."""
        return self._data.qpos[6:8].copy()

    @property
    def gripper(self) -> float:
        """The measured opening, 0 closed .. 1 open."""
        return float(np.clip(self._data.qpos[6] / arm.FINGER_TRAVEL, 0.0, 1.0))

    def tool_pose(self) -> Array:
        """Where tool0 is."""
        self._refresh()
        return rotation.pose(self._data.site_xpos[self._site], self._data.site_xmat[self._site].reshape(3, 3))

    def commanded_pose(self) -> Array:
        """Where tool0 should be now."""
        if self._commanded.motion is not None:
            return self._commanded.motion.pose(self.time)
        return self._kinematics.forward(self._commanded.targets)

    def object_poses(self) -> dict[str, Array]:
        self._refresh()
        bodies = {name: self._data.body(name) for name in scene.OBJECTS}
        return {name: rotation.pose(body.xpos, body.xmat.reshape(3, 3)) for name, body in bodies.items()}

    def render(self, camera: str) -> Picture:
        """What `camera` sees now: RGB (height, width, 3)."""
        view = self._camera(camera)
        self._refresh()
        return view.render(self._data)

    def camera_pose(self, camera: str) -> Array:
        """The optical frame (x right, y down, z forward) of `camera`."""
        view = self._camera(camera)
        self._refresh()
        return view.pose(self._data)

    def intrinsics(self, camera: str) -> Intrinsics:
        return self._camera(camera).intrinsics

    def snapshot(self) -> Snapshot:
        physics = np.empty(mujoco.mj_stateSize(self._model, STATE))
        mujoco.mj_getState(self._model, self._data, physics, STATE)
        return Snapshot(physics, self._steps, self._commanded)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back (or on) to an instant of an arm with the same configuration."""
        expected = mujoco.mj_stateSize(self._model, STATE)
        if snapshot.physics.shape != (expected,):
            raise SimulationError("the snapshot is of another model", got=snapshot.physics.shape, allowed=f"({expected},)")
        mujoco.mj_setState(self._model, self._data, snapshot.physics, STATE)
        self._steps, self._commanded = snapshot.steps, snapshot.commanded
        self._stale = True

    def _take(self, commanded: Commanded) -> None:
        self._commanded = commanded
        self._write_targets()

    def _control(self) -> None:
        """Once per control period: stop when the watchdog says so, else move the joint targets to where they should be at its end."""
        told, period = self._commanded, self.config.control_steps
        if self.at_rest_commanded:
            return
        if self._steps >= told.until:
            self.stop()
        elif self._steps % period == 0:
            span = period * self.config.physics_step
            if told.motion is not None:
                wanted = self._kinematics.approach(told.motion.pose(self.time + span), told.targets)
                reach = VELOCITY_LIMITS * span
                wanted = np.clip(wanted, told.targets - reach, told.targets + reach)
            else:
                wanted = told.targets + span * np.asarray(told.velocity)
            targets = np.clip(wanted, -POSITION_LIMITS, POSITION_LIMITS)
            self._take(Commanded(targets, told.gripper, told.until, told.motion, told.velocity))

    def _next_control(self) -> int:
        """The physics step at which `_control` has something to do next, however the caller slices time."""
        period = self.config.control_steps
        return min((self._steps // period + 1) * period, self._commanded.until)

    def _write_targets(self) -> None:
        self._data.ctrl[:6] = self._commanded.targets
        self._data.ctrl[6] = self._commanded.gripper * arm.FINGER_TRAVEL

    def _refresh(self) -> None:
        """Bring poses up to the joint positions: a physics step leaves them as they were before its last integration."""
        if self._stale:
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_comPos(self._model, self._data)
            mujoco.mj_camlight(self._model, self._data)
            self._stale = False

    def _camera(self, name: str) -> RayCamera:
        _known("camera", name, tuple(self._cameras))
        return self._cameras[name]


def _validate(config: SimConfig) -> None:
    """What no single key's range can say; each fault is named with its mend."""
    if not np.all(np.less(config.workspace.low, config.workspace.high)):
        bounds = f"{config.workspace.low} .. {config.workspace.high}"
        _refuse("the workspace is empty", bounds, "low < high on every axis", "workspace")
    if config.command_timeout < config.control_steps * config.physics_step:
        periods = f"{config.command_timeout} s, {config.control_steps * config.physics_step} s"
        _refuse("the command timeout is shorter than a control period", periods, "command_timeout >= the period", "command_timeout")
    if np.any(np.abs(config.home) > POSITION_LIMITS):
        limits = f"at most {POSITION_LIMITS.round(2).tolist()} rad either way"
        _refuse("the start posture is outside the joint limits", config.home, limits, "home")


def _refuse(what: str, got: object, allowed: str, key: str) -> None:
    raise SimulationError(what, got=got, allowed=allowed, mend=f"{key} in config/sim_arm.yaml")


def _vector(what: str, value: ArrayLike, size: int, largest: float) -> Array:
    allowed = f"{size} finite numbers, norm at most {largest:g}"
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SimulationError(f"{what} is not a vector of numbers", got=repr(value), allowed=allowed) from error
    if array.shape != (size,) or not np.isfinite(array).all() or np.linalg.norm(array) > largest:
        raise SimulationError(f"{what} is not valid", got=repr(value), allowed=allowed)
    return array


def _number(what: str, value: float, low: float, high: float) -> float:
    if isinstance(value, (int, float, np.number)) and low <= value <= high:
        return float(value)
    raise SimulationError(f"{what} is not valid", got=repr(value), allowed=f"a number in {low:g} .. {high:g}")


def _seed(value: int) -> int:
    if isinstance(value, (int, np.integer)) and value >= 0:
        return int(value)
    raise SimulationError("the seed is not valid", got=repr(value), allowed="a whole number >= 0")


def _known(what: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise SimulationError(f"unknown {what}", got=repr(name), allowed=f"{', '.join(names)} ({nearest(str(name), names)})")
