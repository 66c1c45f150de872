"""`ros2 run wm_ros record_motion`: the embedded arm moves about, through its guard, and record_lerobot records it.

The nodes are those of the launch file. An episode begins where the one before ended; the objects get a new layout now and then.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np
import rclpy
from ament_index_python.packages import get_package_share_directory
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation

from wm_core.configuration import read
from wm_core.data import metadata
from wm_core.data.collect import CollectConfig
from wm_core.data.motion import Delta, Motion, MotionLimits, Situation, Space, kinds
from wm_core.errors import WmError
from wm_core.evaluation.loop_config import LoopConfig, LoopRecording
from wm_core.robot.command import DeltaCommand
from wm_core.robot.guard_config import GuardConfig
from wm_core.robot.rotation import Array
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.scene import OBJECTS
from wm_core.simulation.sim_config import SimConfig
from wm_core.training.overrides import overridden
from wm_ros.conductor import START_TIMEOUT, Conductor, ConductorError, await_robot, launched, running
from wm_ros.conversions import delta_message
from wm_ros.mission_recorder import MissionRecorder
from wm_ros.msg import DeltaEECommand, RecorderStatus
from wm_ros.sim_reset import reset
from wm_ros.srv import RecordEpisode

RCLError: type[Exception] = rclpy_implementation.RCLError
CONFIG = Path(get_package_share_directory("wm_ros")) / "config"
KINDS = ("random", "waypoint", "settling")
PERIOD, VALIDITY = 0.1, 2.5  # s, and steps: a command is obeyed a little longer than until the next one
STREAM_TIMEOUT, EXPORT_TIMEOUT, ATTEMPTS = 15.0, 600.0, 3


class MotionRecorder:
    """One episode after the other; the motions see the commanded pose, and the objects where the last layout put them."""

    def __init__(self, node: MissionRecorder, conductor: Conductor, config: LoopRecording, space: Space, arm: EmbeddedArm) -> None:
        self._node, self._conductor, self._config, self._space, self._arm = node, conductor, config, space, arm
        self._commands = node.create_publisher(DeltaEECommand, "delta_command", 10)
        self._status: RecorderStatus | None = None
        node.create_subscription(RecorderStatus, "record_lerobot/status", self._on_status, 10)

    def record(self, index: int) -> None:
        """Episode `index`; what the guard stopped is discarded and made again."""
        for attempt in range(ATTEMPTS):
            generator = np.random.default_rng([self._config.seed, index, attempt])
            if attempt or index % self._config.layout_every == 0 or not self._node.armed:
                seed = int(generator.integers(2**31))
                self._arm.reset(seed)
                reset(self._node, self._conductor, seed)
            motion = kinds(OBJECTS)[str(generator.choice(KINDS))](self._space, generator)
            if self._episode(motion):
                return
        raise ConductorError(f"episode {index} was stopped by the guard {ATTEMPTS} times", mend="a lower recording.speed")

    def await_export(self) -> None:
        """Until all that was captured is in the dataset."""
        before = self._status
        self._conductor.wait("word of the recorder", lambda: self._status is not before)
        ended = (RecorderStatus.IDLE, RecorderStatus.FAULT)
        done = lambda: self._status is not None and self._status.state in ended  # noqa: E731
        self._conductor.wait("the end of the export", done, EXPORT_TIMEOUT)
        if self._status is not None and self._status.state == RecorderStatus.FAULT:
            raise ConductorError("the recorder cannot export what it captured", got=self._status.text)

    def _episode(self, motion: Motion) -> bool:
        """Whether it was kept."""
        motion.begin(self._situation())
        self._begin(motion.task)
        steps = round(self._config.seconds / PERIOD)
        for _ in range(steps):
            self._send(motion.step(self._situation()))
            self._conductor.spin_until(lambda: not self._node.armed, PERIOD)
            if not self._node.armed:
                self._ask(RecordEpisode.Request.DISCARD)
                return False
        self._ask(RecordEpisode.Request.STOP)
        return True

    def _begin(self, task: str) -> None:
        """A stream that a busy machine holds up for a moment is waited for."""
        for _ in range(round(STREAM_TIMEOUT / PERIOD)):
            if self._ask(RecordEpisode.Request.START, task, {RecordEpisode.Response.STREAM_MISSING}):
                return
            self._conductor.spin_until(lambda: False, PERIOD)
        self._ask(RecordEpisode.Request.START, task)

    def _ask(self, command: int, task: str = "", forgiven: Collection[int] = ()) -> bool:
        """Whether the recorder did it; a refusal with another code than those `forgiven` is an error."""
        answer = self._conductor.ask(RecordEpisode, "record_lerobot/record", RecordEpisode.Request(command=command, task=task))
        # A request that was answered and made again because the answer was lost has had its effect.
        done = answer.success or answer.code in {RecordEpisode.Response.ALREADY_RECORDING, RecordEpisode.Response.NOT_RECORDING}
        if not done and answer.code not in forgiven:
            raise ConductorError("the recorder refused", got=answer.message)
        return done

    def _situation(self) -> Situation:
        if self._node.tool is None:
            raise ConductorError("nobody says where the tool is")
        poses = self._arm.object_poses()
        return Situation(self._node.tool, np.array([poses[name][:3, 3] for name in OBJECTS]))

    def _send(self, delta: Delta) -> None:
        now = self._node.get_clock().now().nanoseconds * 1e-9
        self._commands.publish(delta_message(command(delta, now)))

    def _on_status(self, message: RecorderStatus) -> None:
        self._status = message


def command(delta: Delta, now: float) -> DeltaCommand:
    """A step of a motion as a command of `now` (s)."""
    return DeltaCommand(
        frame="base_link",
        translation=delta.translation,
        rotation=delta.rotation,
        gripper=delta.gripper,
        step=PERIOD,
        stamp=now,
        valid_until=now + VALIDITY * PERIOD,
        received=now,
        plan_id="",
        step_index=0,
    )


def space_of(config: LoopRecording, arm: SimConfig) -> Space:
    """The box of the arm, a little inside the guard's walls, with steps that the guard does not cut."""
    guard, collected = read(GuardConfig, CONFIG / "safety_guard.yaml"), read(CollectConfig, CONFIG / "collect.yaml").limits
    step, turn = (config.speed * PERIOD * largest for largest in (guard.tool_speed.linear, guard.tool_speed.angular))
    room: Array = np.full(3, guard.barrier.inflation + 0.01)
    limits = MotionLimits(min(step, collected.step), min(turn, collected.turn), collected.tilt, collected.yaw)
    return Space(np.array(arm.workspace.low) + room, np.array(arm.workspace.high) - room, limits)


def recorded(dataset: Path) -> int:
    """How many episodes are there already."""
    return len(metadata.load(dataset)) if (dataset / "meta" / "info.json").is_file() else 0


def run(config: LoopRecording, files: Path, dataset: Path) -> None:
    """Record what is missing of `config` in `dataset`, in the world that `files` describe."""
    arm = read(SimConfig, files / "sim_arm.yaml")
    contract = files / "record_lerobot.yaml"
    own = {"config_file": contract} if contract.is_file() else {}
    with launched(model="none", config=files) as process, running("record_lerobot", dataset=dataset.absolute(), **own):
        await_robot(process)
        node = MissionRecorder(START_TIMEOUT)
        conductor = Conductor(node, process)
        conductor.wait("arm, camera and guard", lambda: node.tool is not None and node.image is not None, START_TIMEOUT)
        recorder = MotionRecorder(node, conductor, config, space_of(config, arm), EmbeddedArm(arm))
        for index in range(recorded(dataset), config.episodes):
            recorder.record(index)
            conductor.say(f"episode {index + 1} of {config.episodes}")
        recorder.await_export()


def main() -> int:
    """Record; exit status 0 says that all episodes are in the dataset."""
    parser = argparse.ArgumentParser(prog="record_motion", description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG / "loop.yaml", help="how many, how long (default: the shipped loop.yaml)")
    parser.add_argument("--files", type=Path, required=True, help="the launch argument config: a directory with sim_arm.yaml")
    parser.add_argument("--out", type=Path, required=True, help="directory of the dataset; what is there already stays")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings in place of the file's, e.g. recording.episodes=10")
    chosen = parser.parse_args()
    rclpy.init()
    try:
        run(overridden(read(LoopConfig, chosen.config), chosen.overrides).recording, chosen.files, chosen.out)
    except (WmError, KeyboardInterrupt, ExternalShutdownException, RCLError) as error:
        print(f"record_motion: {error if isinstance(error, WmError) else 'interrupted'}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        rclpy.try_shutdown()
    return 0
