"""Protects what the planner trusts: a camera or an arm that is dead, hangs or is another is noticed, and said in words."""

from __future__ import annotations

import numpy as np
import torch

from wm_core.planning.history import Reading
from wm_core.planning.sight import Sight, SightConfig, Source
from wm_core.robot import rotation
from wm_core.robot.proprioception import DOWN

CONFIG = SightConfig(frame_age=0.2, lost=0.5, joint_age=0.2, frozen=0.02)
FRONT = Source("front", "e", "1", (1, 2))


def felt(stamp: float, x: float = 0.0) -> Reading:
    return Reading(stamp, rotation.pose(np.array([x, 0.0, 0.2]), DOWN), 1.0)


def watched(seconds: float = 1.0, speed: float = 0.1, changing: bool = True) -> Sight:
    """A camera at 10 Hz and an arm at 50 Hz that moves along x."""
    sight = Sight(5.0)
    for index in range(round(50 * seconds) + 1):
        now = index / 50
        sight.measure(felt(now, speed * now))
        sight.feel(felt(now, speed * now), np.zeros(6))
        if index % 5 == 0:
            sight.see(now, torch.full((2, 3), now if changing else 0.0), FRONT, now)
    return sight


def test_all_is_well_while_everything_comes() -> None:
    assert watched().fault(CONFIG, 1.05) == ""
    assert watched().view().source == FRONT


def test_nothing_at_all() -> None:
    assert "no camera frame has come yet" in Sight(5.0).fault(CONFIG, 1.0)


def test_a_dead_camera() -> None:
    assert "newest camera frame is 0.6 s old" in watched().fault(CONFIG, 1.6)


def test_a_frame_that_is_late_is_not_acted_on_before_the_camera_counts_as_dead() -> None:
    for now, blind in ((1.19, False), (1.21, True), (1.49, True)):
        assert watched().blind(CONFIG, now) is blind
        assert "camera" not in watched().fault(CONFIG, now)


def test_stamps_from_a_clock_that_is_ahead() -> None:
    """They would look fresh long after the camera died."""
    sight = watched()
    sight.see(1.05, torch.rand(2, 3), FRONT, 1.0)
    assert sight.fault(CONFIG, 1.0) == ""
    sight.see(3.05, torch.rand(2, 3), FRONT, 1.05)
    assert "from 2.0 s ahead" in sight.fault(CONFIG, 1.05)


def test_a_camera_that_dies_does_not_hang_however_late_its_last_frame_came() -> None:
    sight = watched()
    sight.see(1.1, torch.rand(2, 3), FRONT, 1.3)
    for now in (1.61, 1.79, 1.81, 2.5):
        assert "is the encoder running, and the camera?" in sight.fault(CONFIG, now)


def test_a_camera_whose_frames_come_too_late() -> None:
    sight = watched()
    for index in range(10):
        sight.see(1.1 + 0.1 * index, torch.rand(2, 3), FRONT, 1.8 + 0.1 * index)
    assert "frames keep coming, but the newest stamp is 0.7 s old" in sight.fault(CONFIG, 2.7)


def test_a_camera_whose_stamps_stand_still() -> None:
    sight = watched()
    for index in range(10):
        sight.see(1.0, torch.rand(2, 3), FRONT, 1.1 + 0.1 * index)
    assert "newest stamp is 1.1 s old" in sight.fault(CONFIG, 2.1)


def test_a_camera_that_shows_the_same_while_the_arm_moves() -> None:
    assert "stay the same while the tool moved 100 mm" in watched(changing=False).fault(CONFIG, 1.0)
    assert watched(speed=0.01, changing=False).fault(CONFIG, 1.0) == ""


def test_a_camera_that_hung_for_longer_than_anything_is_kept_is_noticed_and_stays_so() -> None:
    sight, place = Sight(0.6), 0.0
    for index in range(250):
        now = index / 50
        place += 0.002 if 2.0 <= now < 3.0 else 0.0  # at rest, 100 mm, at rest again
        sight.measure(felt(now, place))
        sight.feel(felt(now, place), np.zeros(6))
        if index % 5 == 0:
            sight.see(now, torch.zeros(2, 3), FRONT, now)
        if now < 2.1:
            assert sight.fault(CONFIG, now) == ""
        if now > 2.5:
            assert "stay the same while the tool moved" in sight.fault(CONFIG, now)
    assert "moved 100 mm" in sight.fault(CONFIG, 5.0)
    sight.see(5.0, torch.ones(2, 3), FRONT, 5.0)
    sight.measure(felt(5.0, place))
    assert sight.fault(CONFIG, 5.0) == ""


def test_a_camera_that_hangs_while_the_arm_creeps() -> None:
    """Less than the allowed way goes by while a reading is kept."""
    sight = Sight(0.6)
    for index in range(51):
        now = index / 10
        sight.measure(felt(now, 0.005 * now))
        sight.feel(felt(now, 0.005 * now), np.zeros(6))
        sight.see(now, torch.zeros(2, 3), FRONT, now)
        assert ("stay the same" in sight.fault(CONFIG, now)) == (now > 4.05)


def test_a_camera_that_hung_before_the_arm_was_heard_of() -> None:
    sight = Sight(5.0)
    for index in range(31):
        now = index / 10
        sight.see(now, torch.zeros(2, 3), FRONT, now)
        if now >= 1.0:
            sight.measure(felt(now, 0.1 * (now - 1.0)))
            sight.feel(felt(now), np.zeros(6))
    assert "stay the same while the tool moved 200 mm" in sight.fault(CONFIG, 3.0)


def test_joint_states_that_come_later_than_their_frames() -> None:
    sight = Sight(5.0)
    for index in range(21):
        now = index / 10
        sight.see(now, torch.full((2, 3), min(now, 1.0)), FRONT, now)
        sight.measure(felt(now - 0.05, 0.1 * now))
        sight.feel(felt(now), np.zeros(6))
    assert "stay the same while the tool moved" in sight.fault(CONFIG, 2.0)


def test_an_arm_or_a_guard_that_is_silent() -> None:
    sight = watched()
    sight.see(1.3, torch.rand(2, 3), FRONT, 1.3)
    sight.measure(felt(1.3))
    assert "no fresh word of the safety guard" in sight.fault(CONFIG, 1.3)
    sight.feel(felt(1.5), np.zeros(6))
    assert "no fresh joint state: the newest is 0.25 s old" in sight.fault(CONFIG, 1.55)


def test_another_encoder_or_a_clock_that_began_anew_replaces_what_was_known() -> None:
    sight = watched()
    sight.see(1.1, torch.zeros(2, 3), Source("front", "e", "2", (1, 2)), 1.1)
    assert sight.view().history.last_reading is None
    sight = watched(seconds=7.0)
    sight.see(0.1, torch.zeros(2, 3), FRONT, 0.1)
    assert sight.newest == 0.1


def test_a_view_does_not_change_any_more() -> None:
    sight = watched()
    view = sight.view()
    sight.see(1.1, torch.zeros(2, 3), FRONT, 1.1)
    assert view.history.newest == 1.0
    assert sight.newest == 1.1


def test_a_frame_waits_for_the_word_of_where_the_tool_was_then() -> None:
    """A frame without it would tell the model of no reading at all, and a plan would begin blind."""
    sight = watched()
    sight.see(1.1, torch.full((2, 3), 1.1), FRONT, 1.11)
    assert sight.newest == 1.1
    assert sight.view().history.newest == 1.0
    assert sight.view().history.seen(3, 0.1, np.zeros((0, 7))).readings is not None
    sight.feel(felt(1.12, 0.112), np.zeros(6))
    history = sight.view().history
    assert history.newest == 1.1
    seen = history.seen(3, 0.1, np.zeros((0, 7)))
    assert seen.readings is not None
    np.testing.assert_allclose(seen.readings[-1, 0], 0.11, atol=1e-6)
