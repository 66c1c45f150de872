"""Protects the embedded arm as a node: what it publishes is what the simulation says, in both of its times, and it is driven in order."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from arm_system import ARM, ArmSystem, stamp
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from ros_process import CONFIG
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from wm_core import configuration
from wm_core.robot import rotation
from wm_core.robot.kinematics import Kinematics
from wm_core.robot.urdf import read_chain
from wm_core.simulation import arm
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig
from wm_ros.conversions import array, seconds
from wm_ros.images import compressed_picture, picture
from wm_ros.msg import DeltaEECommand
from wm_ros.sim_arm import LATCHED

STEP, STEPS = 0.05, 12  # s; one command each
STATE_PERIOD, IMAGE_PERIOD = 0.01, 0.1
DELTA, TURN, OPENING = (0.001, 0.004, -0.002), (0.0, 0.01, 0.02), 0.25


type Oracle = Iterator[tuple[float, EmbeddedArm]]


class LockStep:
    """One run of an arm in lock-step from a reset: everything that it published, stamps from the reset on."""

    def __init__(self, system: ArmSystem) -> None:
        observer = system.observer
        self.clocks: list[Clock] = observer.hear(Clock, "/clock")
        self.images: list[Image] = observer.hear(Image, "camera/front/image_raw")
        self.compressed: list[CompressedImage] = observer.hear(CompressedImage, "camera/front/image_raw/compressed")
        self.infos: list[CameraInfo] = observer.hear(CameraInfo, "camera/wrist/camera_info")
        self.transforms: list[TFMessage] = observer.hear(TFMessage, "/tf")
        self.states: list[JointState] = system.joint_states
        self._all = (self.clocks, self.images, self.compressed, self.infos, self.transforms, self.states)
        self._system = system
        self._send = observer.sender(DeltaEECommand, "arm/delta_command")
        observer.until(lambda: all(self._all), "everything is published while time runs by itself")

    def run(self) -> None:
        """Reset, then STEPS commands, each sent when the one before has been simulated; begins at simulated time `origin`."""
        observer = self._system.observer
        assert observer.trigger(f"{ARM}/reset").success
        observer.until(lambda: self._paused(), "time waits for the first command")
        for heard in self._all[1:]:
            heard.clear()
        self.origin = seconds(self.clocks[-1].clock)
        for index in range(STEPS):
            self._send(self._system.delta(DELTA, TURN, gripper=OPENING, step=STEP))
            end = self.origin + (index + 1) * STEP
            observer.until(lambda end=end: seconds(self.clocks[-1].clock) > end - 1e-6, "the command is simulated")
        last = STEPS * STEP
        observer.until(lambda: self.states and self.since(self.states[-1]) > last - 1e-6, "the last joint state")
        observer.until(lambda: self.images and self.since(self.images[-1]) > last - 1e-6, "the last image")
        observer.until(lambda: self.compressed and self.since(self.compressed[-1]) > last - 1e-6, "the last compressed image")

    def _paused(self) -> bool:
        return len(self.clocks) >= 3 and len({seconds(message.clock) for message in self.clocks[-3:]}) == 1

    def since(self, message: object) -> float:
        """Simulated seconds from the reset to the stamp of a message."""
        return stamp(message) - self.origin


@pytest.fixture(scope="module")
def config() -> SimConfig:
    return configuration.read(SimConfig, CONFIG / "sim_arm.yaml")


@pytest.fixture(scope="module")
def lock_step(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockStep]:
    """An arm in lock-step that has run once from a reset."""
    system = ArmSystem(tmp_path_factory.mktemp("lock_step"))
    system.start("sim_arm", mode="lock_step", cameras=["front", "wrist"])
    try:
        run = LockStep(system)
        run.run()
        yield run
    finally:
        system.close()


@pytest.fixture
def oracle(config: SimConfig) -> Oracle:
    """The same commands without ROS: the arm after every joint-state period, with the time since the reset."""

    def simulate() -> Oracle:
        embedded = EmbeddedArm(config)
        for index in range(STEPS):
            embedded.command_delta(DELTA, TURN, np.float32(OPENING), STEP)
            for part in range(round(STEP / STATE_PERIOD)):
                embedded.advance(STATE_PERIOD)
                yield index * STEP + (part + 1) * STATE_PERIOD, embedded

    return simulate()


def test_lock_step_publishes_exactly_the_simulation(lock_step: LockStep, oracle: Oracle) -> None:
    states = {round(lock_step.since(state) / STATE_PERIOD): state for state in lock_step.states}
    images = {round(lock_step.since(image) / IMAGE_PERIOD): image for image in lock_step.images}
    compressed = {round(lock_step.since(image) / IMAGE_PERIOD): image for image in lock_step.compressed}
    assert list(states) == list(range(1, 1 + round(STEPS * STEP / STATE_PERIOD)))
    assert list(images) == list(compressed) == list(range(1, 1 + round(STEPS * STEP / IMAGE_PERIOD)))
    for moment, embedded in oracle:
        state = states[round(moment / STATE_PERIOD)]
        assert list(state.name) == [*arm.JOINTS, *arm.FINGER_JOINTS]
        assert list(state.position) == [*embedded.joint_positions, *embedded.finger_positions]
        assert list(state.velocity[:6]) == embedded.joint_velocities.tolist()
        if round(moment / STATE_PERIOD) % 10 == 0:
            seen = embedded.render("front")
            np.testing.assert_array_equal(picture(images[round(moment / IMAGE_PERIOD)]), seen)
            jpeg = compressed_picture(compressed[round(moment / IMAGE_PERIOD)]).astype(float)
            assert np.abs(jpeg - seen).mean() < 6.0  # of 255, at JPEG quality 90


def test_a_second_run_is_the_same_to_the_last_byte(lock_step: LockStep) -> None:
    def content() -> list[bytes]:
        states = [np.array([*state.position, *state.velocity]).tobytes() for state in lock_step.states]
        return [*states, *(bytes(image.data) for image in lock_step.images)]

    first = content()
    lock_step.run()
    assert content() == first


def test_frames_agree_with_the_simulation_and_the_kinematics(lock_step: LockStep, oracle: Oracle) -> None:
    frames = {round(lock_step.since(message.transforms[0]) / STATE_PERIOD): message.transforms for message in lock_step.transforms}
    kinematics = Kinematics(read_chain(arm.urdf()))
    compared = 0
    for moment, embedded in oracle:
        transforms = frames.get(round(moment / STATE_PERIOD))
        if transforms is None:
            continue
        compared += 1
        assert {transform.header.frame_id for transform in transforms} == {"base_link"}
        poses = {transform.child_frame_id: pose(transform) for transform in transforms}
        np.testing.assert_allclose(poses["tool0"], embedded.tool_pose(), atol=1e-6)
        for camera in ("front", "wrist"):
            np.testing.assert_allclose(poses[f"camera_{camera}_optical_frame"], embedded.camera_pose(camera), atol=1e-6)
        for link in ("shoulder_link", "forearm_link", "wrist_2_link"):
            np.testing.assert_allclose(poses[link], kinematics.link_pose(link, embedded.joint_positions), atol=1e-9)
    assert compared == round(STEPS * STEP / 0.05)


def pose(transform: TransformStamped) -> np.ndarray:
    """The 4x4 pose of a transform."""
    turn = transform.transform.rotation
    matrix = rotation.from_quaternion(np.array([turn.w, turn.x, turn.y, turn.z]))
    return rotation.pose(array(transform.transform.translation), matrix)


def test_camera_info_is_that_of_the_camera(lock_step: LockStep, config: SimConfig) -> None:
    info, intrinsics = lock_step.infos[-1], EmbeddedArm(config).intrinsics("wrist")
    assert (info.width, info.height, info.header.frame_id) == (config.width, config.height, "camera_wrist_optical_frame")
    np.testing.assert_array_equal(np.array(info.k).reshape(3, 3), intrinsics.matrix())
    np.testing.assert_array_equal(np.array(info.p).reshape(3, 4)[:, :3], intrinsics.matrix())
    # Undistorting a picture with this camera changes nothing.
    shown = picture(lock_step.images[-1])
    np.testing.assert_array_equal(cv2.undistort(shown, np.array(info.k).reshape(3, 3), np.array(info.d)), shown)


def test_a_late_subscriber_gets_the_description(system: ArmSystem) -> None:
    descriptions = system.observer.hear(String, "robot_description", LATCHED)
    assert system.await_message(descriptions, "the description").data == arm.urdf()


def test_joint_states_come_at_their_rate_in_real_time(system: ArmSystem) -> None:
    seen = len(system.joint_states)
    system.observer.until(lambda: len(system.joint_states) >= seen + 201, "two seconds of joint states")
    stamps = np.array([stamp(state) for state in system.joint_states[seen : seen + 201]])
    assert (np.diff(stamps) > 0.0).all()
    assert 1.9 < stamps[-1] - stamps[0] < 3.0


def test_a_reset_brings_the_arm_home(armed: ArmSystem, config: SimConfig) -> None:
    stop = armed.feed((0.0, 0.02, 0.0))
    armed.observer.until(lambda: armed.tool()[1, 3] > 0.03, "the arm leaves home")
    stop()
    armed.await_rest()
    armed.observer.trigger("/safety_guard/estop")
    assert np.abs(armed.positions() - config.home).max() > 0.02
    answer = armed.observer.trigger(f"{ARM}/reset")
    assert answer.success
    assert "home" in answer.message
    armed.await_rest()
    np.testing.assert_allclose(armed.positions(), config.home, atol=2e-3)


def test_a_reset_puts_the_objects_where_the_seed_says(bare: ArmSystem, config: SimConfig) -> None:
    images = bare.observer.hear(Image, "camera/front/image_raw")
    for seed in (5, 6):
        assert bare.observer.set_parameter(ARM, "seed", seed)[0]
        assert f"seed {seed}" in bare.observer.trigger(f"{ARM}/reset").message
        expected = EmbeddedArm(config, seed).render("front").astype(float)

        def alike(expected: np.ndarray = expected) -> bool:
            return bool(images) and np.abs(picture(images[-1]) - expected).mean() < 1.0  # of 255; another layout is several off

        bare.observer.until(alike, f"the picture of seed {seed}")
    refused, why = bare.observer.set_parameter(ARM, "seed", -1)
    assert not refused
    assert "out of range" in why
    bare.observer.set_parameter(ARM, "seed", config.seed)
    bare.observer.trigger(f"{ARM}/reset")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"translation": (np.nan, 0.0, 0.0)}, "translation is not valid"),
        ({"translation": (1e12, 0.0, 0.0)}, "translation is not valid"),
        ({"frame": "map"}, "unknown frame"),
        ({"step": -1.0}, "step_seconds is not valid"),
        ({"valid_until": 1.0}, "valid until"),
    ],
)
def test_the_arm_refuses_what_it_cannot_do_and_says_why(bare: ArmSystem, fields: dict[str, object], words: str) -> None:
    before = bare.positions()
    send = bare.observer.sender(DeltaEECommand, "arm/delta_command")
    diagnostics = bare.observer.hear(DiagnosticArray, "/diagnostics")
    stop = bare.observer.repeat(0.02, lambda: send(bare.delta(**{"translation": (0.0, 0.01, 0.0), **fields})))

    def refusals() -> list[str]:
        return [s.message for message in diagnostics for s in message.status if s.name == "/sim_arm: commands" and words in s.message]

    bare.observer.until(refusals, f"a refusal with '{words}'")
    stop()
    np.testing.assert_allclose(bare.positions(), before, atol=1e-3)
    bare.observer.node.destroy_publisher(send.__self__)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArmSystem]:
    """The arm alone, without a guard."""
    system = ArmSystem(tmp_path_factory.mktemp("bare"))
    system.start("sim_arm")
    try:
        system.observer.until(lambda: system.joint_states, "the arm starts")
        yield system
    finally:
        system.close()
