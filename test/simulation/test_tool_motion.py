"""Protects the bookkeeping of delta commands: even motion, an exact sum whatever the timing, composed rotations, the workspace box."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wm_core.robot import rotation
from wm_core.simulation.tool_motion import ToolMotion, held_inside, moved

SHIFTS = st.tuples(*[st.floats(-0.05, 0.05)] * 3).map(np.array)
TURNS = st.tuples(*[st.floats(-0.5, 0.5)] * 3).map(np.array)
POSES = st.builds(lambda p, r: rotation.pose(p, rotation.matrix(r)), SHIFTS, TURNS)
COMMANDS = st.lists(st.tuples(SHIFTS, TURNS, st.floats(0.01, 0.3), st.floats(0.0, 0.3), st.booleans()), min_size=1, max_size=10)


@given(start=POSES, shift=SHIFTS, turn=TURNS, share=st.floats(0.0, 1.0))
def test_one_delta_is_spread_evenly(start, shift, turn, share):
    motion = ToolMotion.rest(start, 2.0).extended(2.0, moved(start, shift, turn, in_tool=False), 0.5)
    reached = motion.pose(2.0 + 0.5 * share)
    expected = rotation.pose(start[:3, 3] + share * shift, rotation.matrix(share * turn) @ start[:3, :3])
    np.testing.assert_allclose(reached, expected, atol=1e-9)


@given(start=POSES, commands=COMMANDS)
def test_the_sum_is_exact_when_commands_overtake_each_other(start, commands):
    motion, time, expected = ToolMotion.rest(start, 0.0), 0.0, start
    for shift, turn, duration, wait, in_tool in commands:
        motion = motion.extended(time, moved(motion.goal, shift, turn, in_tool), duration)
        expected = moved(expected, shift, turn, in_tool)
        time += wait
    np.testing.assert_allclose(motion.pose(time + 1.0), expected, atol=1e-12)


@given(start=POSES, commands=COMMANDS)
def test_the_commanded_pose_never_jumps_when_a_command_arrives(start, commands):
    motion, time = ToolMotion.rest(start, 0.0), 0.0
    for shift, turn, duration, wait, in_tool in commands:
        before = motion.pose(time)
        motion = motion.extended(time, moved(motion.goal, shift, turn, in_tool), duration)
        np.testing.assert_allclose(motion.pose(time), before, atol=1e-12)
        time += wait


def test_rotations_are_composed_and_not_added():
    x, y = np.array([np.pi / 2, 0.0, 0.0]), np.array([0.0, np.pi / 2, 0.0])
    still = np.zeros(3)
    turned = moved(moved(np.eye(4), still, x, in_tool=False), still, y, in_tool=False)
    np.testing.assert_allclose(turned[:3, :3], rotation.matrix(y) @ rotation.matrix(x), atol=1e-12)
    assert np.abs(turned[:3, :3] - rotation.matrix(x + y)).max() > 0.5


@given(start=POSES, shift=SHIFTS, turn=TURNS)
def test_a_delta_in_the_tool_frame_is_the_same_motion_seen_from_the_tool(start, shift, turn):
    step = rotation.pose(shift, rotation.matrix(turn))
    np.testing.assert_allclose(moved(start, shift, turn, in_tool=True), start @ step, atol=1e-12)


@given(before=st.tuples(*[st.floats(-2, 2)] * 3), goal=st.tuples(*[st.floats(-2, 2)] * 3))
def test_the_box_holds_what_is_inside_and_lets_what_is_outside_only_come_back(before, goal):
    low, high = -np.ones(3), np.ones(3)
    before_pose, goal_pose = (rotation.pose(np.array(place), np.eye(3)) for place in (before, goal))
    held = held_inside(goal_pose, before_pose, low, high)[:3, 3]
    outside = np.maximum(np.abs(before) - 1.0, 0.0)
    assert (np.maximum(np.abs(held) - 1.0, 0.0) <= outside).all()
    free = (np.abs(goal) <= 1.0) | (np.array(goal) == before)
    np.testing.assert_array_equal(held[free], np.array(goal)[free])
