"""Protects the embedded arm's behaviour: commands, watchdog, tracking, reproducibility, grasping, and refusal of bad input."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wm_core.errors import SimulationError
from wm_core.robot import rotation
from wm_core.simulation import arm, scene
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.kinematics import ArmKinematics

STILL = np.zeros(3)
SMALL = st.tuples(*[st.floats(-0.01, 0.01)] * 3).map(np.array)


@pytest.fixture(scope="module")
def shared(config):
    """One arm for the examples of a property test; each example resets it."""
    return EmbeddedArm(config, seed=3)


def settle(moving, seconds=0.5):
    moving.advance(seconds)
    return moving


def random_commands(moving, seed, count):
    """A mixture of both modes with gaps, some longer than the watchdog's."""
    draw = np.random.default_rng(seed)
    for _ in range(count):
        if draw.random() < 0.7:
            moving.command_delta(
                draw.normal(0, 0.004, 3), draw.normal(0, 0.02, 3), draw.random(), 0.05, draw.choice(["base_link", "tool0"])
            )
        else:
            moving.command_joint_velocity(draw.normal(0, 0.3, 6))
        moving.advance(0.002 * int(draw.integers(1, 70)))


def drive(moving, pose, gripper):
    """Move the commanded tool to `pose` with deltas of at most 2 cm and 0.06 rad per 0.1 s, then wait."""
    while True:
        error = rotation.pose_error(pose, moving.commanded_pose())
        if np.linalg.norm(error) < 1e-6:
            break
        parts = max(1.0, np.ceil(np.linalg.norm(error[:3]) / 0.02), np.ceil(np.linalg.norm(error[3:]) / 0.06))
        moving.command_delta(error[:3] / parts, error[3:] / parts, gripper, 0.1)
        moving.advance(0.1)
    moving.command_gripper(gripper)
    moving.advance(0.7)


def test_starts_at_home_at_rest_with_objects_on_the_table(config):
    for seed in range(20):
        still = EmbeddedArm(config, seed)
        before = still.object_poses()
        settle(still)
        expected = rotation.pose(np.array([0.5, 0.0, 0.2]), np.diag([1.0, -1.0, -1.0]))
        np.testing.assert_allclose(still.tool_pose(), expected, atol=1e-5)
        assert np.abs(still.joint_velocities).max() < 1e-5
        assert still.gripper == pytest.approx(1.0, abs=1e-3)
        for name, pose in still.object_poses().items():
            np.testing.assert_allclose(pose, before[name], atol=1e-3)
        apart = before["cube"][:2, 3] - before["cylinder"][:2, 3]
        assert np.linalg.norm(apart) >= scene.OBJECT_GAP


def test_every_corner_of_the_workspace_is_reached_with_the_tool_down(config, embedded_arm):
    """With the Jacobian's condition below 17, from where on a guard slows down."""
    down, kinematics = embedded_arm.commanded_pose(), ArmKinematics()
    for corner in itertools.product(*zip(config.workspace.low, config.workspace.high, strict=True)):
        q, start = np.array(arm.HOME), down[:3, 3]
        for share in np.linspace(0.0, 1.0, 30):
            q = kinematics.approach(rotation.pose(start + share * (corner - start), down[:3, :3]), q)
        reached = kinematics.forward(q)
        np.testing.assert_allclose(reached, rotation.pose(np.array(corner), down[:3, :3]), atol=1e-5)
        nudges = [kinematics.forward(q + 1e-6 * unit) for unit in np.eye(6)]
        jacobian = np.stack([rotation.pose_error(nudged, reached) / 1e-6 for nudged in nudges], axis=1)
        assert np.linalg.cond(jacobian) < 17.0


def test_layouts_differ_between_seeds_and_stay_reachable(config):
    layouts = [scene.draw_layout(np.random.default_rng(seed)) for seed in range(200)]
    assert len({layout.tobytes() for layout in layouts}) == 200
    places = np.concatenate(layouts)[:, :2]
    assert (places > config.workspace.low[:2]).all()
    assert (places < config.workspace.high[:2]).all()


@settings(max_examples=15)
@given(steps=st.lists(st.tuples(SMALL, SMALL, st.sampled_from([0.01, 0.05, 0.1]), st.integers(1, 40)), min_size=1, max_size=12))
def test_the_tool_ends_at_the_exact_sum_of_the_deltas(shared, steps):
    shared.reset(3)
    expected = shared.commanded_pose()
    for shift, turn, duration, wait in steps:
        shared.command_delta(shift, turn, 1.0, duration)
        expected = rotation.pose(expected[:3, 3] + shift, rotation.matrix(turn) @ expected[:3, :3])
        shared.advance(0.002 * wait)
    shared.advance(1.0)
    np.testing.assert_allclose(shared.commanded_pose(), expected, atol=1e-8)
    assert np.linalg.norm(shared.tool_pose()[:3, 3] - expected[:3, 3]) < 1e-3
    assert np.linalg.norm(rotation.vector(shared.tool_pose()[:3, :3] @ expected[:3, :3].T)) < 2e-3


def test_tracks_a_square_within_a_centimetre_and_settles_below_a_millimetre(embedded_arm):
    errors = []
    for direction in ([0, 1, 0], [1, 0, 0], [0, -1, 0], [-1, 0, 0]):
        for _ in range(50):
            embedded_arm.command_delta(0.002 * np.array(direction), STILL, 1.0, 0.01)
            embedded_arm.advance(0.01)
            errors.append(np.linalg.norm(embedded_arm.tool_pose()[:3, 3] - embedded_arm.commanded_pose()[:3, 3]))
    assert np.mean(errors) < 0.008
    assert np.max(errors) < 0.012
    settle(embedded_arm)
    assert np.linalg.norm(embedded_arm.tool_pose()[:3, 3] - [0.5, 0.0, 0.2]) < 1e-3


def test_tool_frame_and_base_frame_are_told_apart(config):
    in_base, in_tool = EmbeddedArm(config, 3), EmbeddedArm(config, 3)
    in_base.command_delta([0, 0, 0.03], STILL, 1.0, 0.1, "base_link")
    in_tool.command_delta([0, 0, 0.03], STILL, 1.0, 0.1, "tool0")
    assert settle(in_base).tool_pose()[2, 3] == pytest.approx(0.23, abs=1e-3)
    assert settle(in_tool).tool_pose()[2, 3] == pytest.approx(0.17, abs=1e-3)


@pytest.mark.parametrize("direction", [*np.eye(3), *-np.eye(3)])
def test_the_tool_stops_at_the_workspace(config, embedded_arm, direction):
    for _ in range(60):
        embedded_arm.command_delta(0.02 * direction, STILL, 1.0, 0.1)
        embedded_arm.advance(0.1)
    settle(embedded_arm)
    low, high = np.array(config.workspace.low), np.array(config.workspace.high)
    expected = np.clip(np.array([0.5, 0.0, 0.2]) + 1.2 * direction, low, high)
    np.testing.assert_allclose(embedded_arm.tool_pose()[:3, 3], expected, atol=2e-3)


@pytest.mark.parametrize("mode", ["delta", "joint velocity"])
def test_stops_by_itself_after_the_last_command(config, embedded_arm, mode):
    """The targets stand still from the timeout on, and the arm is at rest 0.1 s later, wherever the command left it."""
    if mode == "delta":
        embedded_arm.command_delta([0, 0.05, 0], STILL, 1.0, 0.4)
    else:
        embedded_arm.command_joint_velocity([0.3, 0, 0, 0, 0, 0.3])
    embedded_arm.advance(config.command_timeout)
    assert np.abs(embedded_arm.joint_velocities).max() > 0.05
    targets = embedded_arm.joint_targets
    embedded_arm.advance(0.1)
    assert embedded_arm.at_rest_commanded
    np.testing.assert_array_equal(embedded_arm.joint_targets, targets)
    assert np.abs(embedded_arm.joint_velocities).max() < 0.01
    if mode == "delta":
        assert settle(embedded_arm).tool_pose()[1, 3] == pytest.approx(0.0125, abs=1e-3)
    else:
        assert settle(embedded_arm).joint_positions[0] - arm.HOME[0] == pytest.approx(0.03, abs=1e-3)


def test_what_the_watchdog_dropped_is_not_made_up_for_later(embedded_arm):
    embedded_arm.command_delta([0, 0.05, 0], STILL, 1.0, 0.4)
    settle(embedded_arm)
    before = embedded_arm.commanded_pose()
    embedded_arm.command_delta([0, 0.01, 0], STILL, 1.0, 0.1)
    settle(embedded_arm)
    np.testing.assert_allclose(embedded_arm.commanded_pose()[:3, 3], before[:3, 3] + [0, 0.01, 0], atol=1e-8)


def test_a_stop_drops_the_rest_at_once(embedded_arm):
    embedded_arm.command_delta([0, 0.02, 0], STILL, 1.0, 0.1)
    embedded_arm.advance(0.05)
    embedded_arm.stop()
    assert settle(embedded_arm).tool_pose()[1, 3] == pytest.approx(0.01, abs=1e-3)


def test_joint_velocities_are_integrated_and_limited(embedded_arm):
    velocity = np.array([0.2, -0.1, 0.1, -0.2, 0.3, -0.3])
    for _ in range(10):
        embedded_arm.command_joint_velocity(velocity)
        embedded_arm.advance(0.05)
    embedded_arm.command_joint_velocity(np.zeros(6))
    settle(embedded_arm)
    np.testing.assert_allclose(embedded_arm.joint_positions, np.array(arm.HOME) + 0.5 * velocity, atol=1e-3)
    before = embedded_arm.joint_targets
    embedded_arm.command_joint_velocity([1e12, 0, 0, 0, 0, 0])
    embedded_arm.advance(0.02)
    assert embedded_arm.joint_targets[0] - before[0] == pytest.approx(np.pi * 0.02)


def test_joints_stop_at_their_limits(embedded_arm):
    for _ in range(40):
        embedded_arm.command_joint_velocity([0, 0, 0, 0, 0, 3.0])
        embedded_arm.advance(0.1)
    assert embedded_arm.joint_targets[5] == pytest.approx(2 * np.pi)
    assert settle(embedded_arm).joint_positions[5] == pytest.approx(2 * np.pi, abs=2e-3)


def test_nothing_jumps_between_the_modes(config, embedded_arm):
    """From one control period to the next no joint target moves further than the joint's speed limit, in any mixture of commands."""
    draw, kinematics = np.random.default_rng(5), ArmKinematics()
    period = config.control_steps * config.physics_step
    targets = embedded_arm.joint_targets
    for index in range(600):
        if index % 20 == 0:
            mode = draw.integers(3)
        if mode == 0:
            embedded_arm.command_delta(draw.normal(0, 0.0005, 3), draw.normal(0, 0.003, 3), 1.0, 0.01)
        elif mode == 1:
            embedded_arm.command_joint_velocity(draw.normal(0, 0.1, 6))
        embedded_arm.advance(period)
        step, targets = embedded_arm.joint_targets - targets, embedded_arm.joint_targets
        assert np.abs(step).max() < 0.02
        gap = rotation.pose_error(embedded_arm.commanded_pose(), kinematics.forward(targets))
        assert np.linalg.norm(gap) < 2e-3


def test_a_delta_after_joint_motion_starts_from_the_joint_targets_and_not_from_the_measurement(embedded_arm):
    for _ in range(5):
        embedded_arm.command_joint_velocity([0.6, 0, 0, 0, 0, 0])
        embedded_arm.advance(0.05)
    before = embedded_arm.commanded_pose()
    assert np.linalg.norm(embedded_arm.tool_pose()[:3, 3] - before[:3, 3]) > 0.005
    embedded_arm.command_delta(STILL, STILL, 1.0, 0.1)
    np.testing.assert_allclose(embedded_arm.commanded_pose(), before, atol=1e-12)


def test_the_tool_pose_belongs_to_the_joint_positions_of_the_same_instant(embedded_arm):
    kinematics = ArmKinematics()
    for _ in range(5):
        embedded_arm.command_joint_velocity([0.6, 0.3, -0.3, 0.2, 0.1, 0.5])
        embedded_arm.advance(0.05)
        np.testing.assert_allclose(embedded_arm.tool_pose(), kinematics.forward(embedded_arm.joint_positions), atol=1e-9)


def test_entering_delta_mode_outside_the_workspace_does_not_jump_into_it(embedded_arm):
    for _ in range(20):
        embedded_arm.command_joint_velocity([1.0, 0, 0, 0, 0, 0])
        embedded_arm.advance(0.05)
    settle(embedded_arm)
    before = embedded_arm.commanded_pose()
    assert before[1, 3] > 0.35 or before[0, 3] < 0.29
    embedded_arm.command_delta(STILL, STILL, 1.0, 0.1)
    settle(embedded_arm)
    np.testing.assert_allclose(embedded_arm.commanded_pose(), before, atol=1e-8)


def test_equal_seeds_and_commands_give_equal_bytes(config):
    first, second = EmbeddedArm(config, 11), EmbeddedArm(config, 11)
    for moving in (first, second):
        random_commands(moving, seed=2, count=40)
    assert first.snapshot().physics.tobytes() == second.snapshot().physics.tobytes()
    for camera in scene.CAMERAS:
        assert first.render(camera).tobytes() == second.render(camera).tobytes()
    assert EmbeddedArm(config, 12).render("front").tobytes() != EmbeddedArm(config, 11).render("front").tobytes()


def test_a_reset_is_as_good_as_new(config, embedded_arm):
    random_commands(embedded_arm, seed=7, count=10)
    embedded_arm.reset(11)
    fresh = EmbeddedArm(config, 11)
    for moving in (embedded_arm, fresh):
        random_commands(moving, seed=2, count=10)
    assert embedded_arm.snapshot().physics.tobytes() == fresh.snapshot().physics.tobytes()
    assert embedded_arm.time == fresh.time


@settings(max_examples=15)
@given(cuts=st.sets(st.integers(1, 60), max_size=8), begin=st.integers(0, 3), total=st.integers(46, 56))
@example(cuts={51}, begin=1, total=51)
@example(cuts={50}, begin=1, total=51)
def test_neither_slicing_time_nor_looking_changes_what_happens(config, cuts, begin, total):
    """The second command comes around the instant of the watchdog, which need not lie on a control period."""
    slices = np.diff(sorted({0, total} | {cut for cut in cuts if cut < total}))
    whole, sliced = EmbeddedArm(config, 1), EmbeddedArm(config, 1)
    for moving in (whole, sliced):
        moving.advance(0.002 * begin)
        moving.command_delta([0.01, 0.01, -0.02], [0, 0, 0.1], 0.3, 0.3)
    whole.advance(0.002 * total)
    for steps in slices:
        sliced.advance(0.002 * steps)
        sliced.render("wrist")
        sliced.tool_pose()
        sliced.object_poses()
    for moving in (whole, sliced):
        moving.command_delta([0.01, 0, 0], STILL, 1.0, 0.05)
        moving.advance(0.2)
    assert whole.snapshot().physics.tobytes() == sliced.snapshot().physics.tobytes()


def test_a_snapshot_is_gone_back_to_exactly(embedded_arm):
    random_commands(embedded_arm, seed=4, count=5)
    embedded_arm.command_delta([0.01, 0, 0], [0, 0, 0.05], 0.5, 0.1)
    embedded_arm.advance(0.05)
    instant, picture = embedded_arm.snapshot(), embedded_arm.render("front")
    random_commands(embedded_arm, seed=6, count=8)
    after, time = embedded_arm.snapshot().physics.tobytes(), embedded_arm.time
    embedded_arm.restore(instant)
    assert embedded_arm.render("front").tobytes() == picture.tobytes()
    random_commands(embedded_arm, seed=6, count=8)
    assert embedded_arm.snapshot().physics.tobytes() == after
    assert embedded_arm.time == time


@pytest.mark.parametrize("name", scene.OBJECTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_gripper_lifts_an_object(config, name, seed):
    grasping = EmbeddedArm(config, seed)
    pose = grasping.object_poses()[name]
    place = pose[:3, 3]
    yaw = (rotation.vector(pose[:3, :3])[2] + np.pi / 4) % (np.pi / 2) - np.pi / 4
    down = rotation.matrix(np.array([0.0, 0.0, yaw])) @ np.diag([1.0, -1.0, -1.0])
    drive(grasping, rotation.pose(np.array([*place[:2], 0.2]), down), gripper=1.0)
    drive(grasping, rotation.pose(place, down), gripper=1.0)
    drive(grasping, rotation.pose(place, down), gripper=0.0)
    assert 0.5 < grasping.gripper < 0.75
    drive(grasping, rotation.pose(np.array([0.5, 0.0, 0.3]), down), gripper=0.0)
    np.testing.assert_allclose(grasping.object_poses()[name][:3, 3], [0.5, 0.0, 0.3], atol=0.01)
    drive(grasping, rotation.pose(np.array([0.5, 0.0, 0.3]), down), gripper=1.0)
    assert grasping.object_poses()[name][2, 3] < 0.2


def test_the_gripper_follows_its_command_and_nothing_else_moves(embedded_arm):
    for opening in (0.0, 0.4, 1.0):
        embedded_arm.command_gripper(opening)
        settle(embedded_arm, 1.0)
        assert embedded_arm.gripper == pytest.approx(opening, abs=0.02)
        left, right = embedded_arm.finger_positions
        assert left == pytest.approx(right, abs=5e-4)
    np.testing.assert_allclose(embedded_arm.tool_pose()[:3, 3], [0.5, 0.0, 0.2], atol=1e-3)


def test_a_delta_without_an_opening_leaves_the_gripper_as_it_is(embedded_arm):
    embedded_arm.command_gripper(0.4)
    embedded_arm.command_delta([0, 0.01, 0], STILL, None, 0.1)
    assert settle(embedded_arm, 1.0).gripper == pytest.approx(0.4, abs=0.02)


NOT_NUMBERS = st.sampled_from([float("nan"), float("inf"), -float("inf")])
BAD_VECTORS = st.one_of(
    st.tuples(NOT_NUMBERS, st.floats(-1, 1), st.floats(-1, 1)),
    st.lists(st.floats(-1, 1), max_size=8).filter(lambda values: len(values) not in (3, 6)),
    st.sampled_from([None, "abc", [[0, 0, 0]], {"x": 1}, 0.0, (1e12, 0, 0), (1e308, 1e308, 0), [None, 0, 0]]),
)


@settings(max_examples=60)
@given(bad=BAD_VECTORS, value=st.sampled_from([float("nan"), float("inf"), -0.01, 1.01, "1", [0.5]]))
def test_garbage_is_refused_and_changes_nothing(shared, bad, value):
    shared.reset(3)
    shared.command_delta([0.01, 0, 0], STILL, 0.5, 0.1)
    shared.advance(0.02)
    before = shared.snapshot()
    attempts = (
        lambda: shared.command_delta(bad, STILL, 1.0, 0.1),
        lambda: shared.command_delta(STILL, bad, 1.0, 0.1),
        lambda: shared.command_delta(STILL, STILL, value, 0.1),
        lambda: shared.command_gripper(value),
        lambda: shared.command_joint_velocity(bad if np.shape(bad) != () else [0.0] * 5),
        lambda: shared.command_joint_velocity([float("nan")] + [0.0] * 5),
    )
    for attempt in attempts:
        with pytest.raises(SimulationError):
            attempt()
    after = shared.snapshot()
    assert after.physics.tobytes() == before.physics.tobytes()
    assert after.commanded is before.commanded
    assert after.steps == before.steps


@pytest.mark.parametrize("duration", [0.0, -0.1, float("nan"), float("inf"), 1e12, None])
def test_a_step_without_a_proper_duration_is_refused(embedded_arm, duration):
    with pytest.raises(SimulationError, match="step_seconds"):
        embedded_arm.command_delta(STILL, STILL, 1.0, duration)


def test_refusals_say_what_is_allowed(embedded_arm):
    with pytest.raises(SimulationError, match="base_link, tool0"):
        embedded_arm.command_delta(STILL, STILL, 1.0, 0.1, frame="world")
    for seconds in (0.003, -0.002, float("nan")):
        with pytest.raises(SimulationError, match="allowed"):
            embedded_arm.advance(seconds)
    with pytest.raises(SimulationError, match="seed"):
        embedded_arm.reset(-1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"command_timeout": 0.02, "control_steps": 10, "physics_step": 0.004}, "command_timeout"),
        ({"home": (0.0, 0.0, 6.0, 0.0, 0.0, 0.0)}, "home"),
    ],
)
def test_contradictory_settings_are_refused_where_they_stand(config, change, named):
    with pytest.raises(SimulationError, match=f"{named} in config/sim_arm.yaml"):
        EmbeddedArm(dataclasses.replace(config, **change), 0)


def test_an_empty_workspace_is_refused(config):
    empty = dataclasses.replace(config.workspace, low=config.workspace.high)
    with pytest.raises(SimulationError, match=r"workspace in config/sim_arm\.yaml"):
        EmbeddedArm(dataclasses.replace(config, workspace=empty), 0)


def test_the_shipped_start_posture_is_the_home_of_the_arm(config):
    np.testing.assert_allclose(config.home, arm.HOME, atol=1e-6)
