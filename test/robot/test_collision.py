"""Protects: distances between capsules, against brute force; and that a look which is skipped could not have seen anything."""

from __future__ import annotations

import numpy as np
from guard_rig import HOME, make_guard, make_limits
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.robot.collision import segment_distance

coordinates = st.lists(st.floats(-1.0, 1.0), min_size=12, max_size=12)


@settings(max_examples=150)
@given(coordinates, st.sampled_from(["free", "parallel", "point", "two points", "crossing"]))
def test_segment_distance_against_brute_force(numbers: list[float], kind: str) -> None:
    p, u, r, w = np.array(numbers).reshape(4, 1, 3)
    if kind == "parallel":
        w = -0.7 * u
    if kind in ("point", "two points"):
        u = np.zeros((1, 3))
    if kind == "two points":
        w = np.zeros((1, 3))
    if kind == "crossing":
        r = p + 0.5 * u - 0.25 * w
    found = segment_distance(p - r, u, w, (u * u).sum(1), (w * w).sum(1))[0]
    grid = np.linspace(0.0, 1.0, 101)
    sampled = np.linalg.norm((p + grid[:, None] * u)[:, None] - (r + grid[:, None] * w)[None], axis=2).min()
    assert found <= sampled + 1e-6
    assert found >= sampled - 0.01 * (np.linalg.norm(u) + np.linalg.norm(w)) - 1e-9


def test_the_home_pose_is_clear_and_a_folded_arm_is_not() -> None:
    guard = make_guard()
    assert guard.collision.clearances(guard.kinematics.posture(HOME)).min() > guard.config.collision.slow
    folded = HOME.copy()
    folded[2] = 3.0
    found = dict(zip(guard.collision.names, guard.collision.clearances(guard.kinematics.posture(folded)), strict=True))
    assert min(found.values()) < 0.0


def test_the_table_is_seen_by_every_capsule_that_is_not_standing_on_it() -> None:
    guard = make_guard()
    low = HOME.copy()
    low[1] = 0.2
    found = dict(zip(guard.collision.names, guard.collision.clearances(guard.kinematics.posture(low)), strict=True))
    assert found["table:forearm"] < 0.0
    assert "table:base" not in found
    assert not [name for name in make_guard(limits=make_limits(table_height=None)).collision.names if name.startswith("table")]


def test_neighbours_and_allowed_contacts_are_not_looked_at() -> None:
    names = make_guard().collision.names
    assert "collision:upper_arm-forearm" not in names
    assert "collision:base-upper_arm" not in names
    assert "collision:base-upper_arm" in make_guard(limits=make_limits(allowed_contacts=())).collision.names


def test_without_capsules_nothing_is_near() -> None:
    guard = make_guard(limits=make_limits(capsules={}, allowed_contacts=()))
    assert np.isinf(guard.collision.look(None, HOME, guard.kinematics.posture(HOME), 0.05).nearest)


def test_a_look_that_is_skipped_could_not_have_seen_anything_near() -> None:
    guard, near, skipped = make_guard(), 0.05, 0
    rng = np.random.default_rng(0)
    for _ in range(40):
        q = HOME + rng.uniform(-0.5, 0.5, 6)
        direction = rng.normal(size=6)
        seen = guard.collision.look(None, q, guard.kinematics.posture(q), near)
        for _ in range(25):
            q = q + 0.002 * direction
            posture = guard.kinematics.posture(q)
            again = guard.collision.look(seen, q, posture, near)
            if again is seen:
                skipped += 1
                assert guard.collision.clearances(posture).min() >= near
            seen = again
    assert skipped > 50
