"""Protects the pictures: a camera that looks the wrong way, is mirrored, or disagrees with its intrinsics and pose is caught here."""

import dataclasses
import itertools

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.errors import SimulationError
from wm_core.simulation import arm, scene
from wm_core.simulation.camera import Intrinsics, RayCamera
from wm_core.simulation.embedded_arm import EmbeddedArm

# Where nothing stands between the front and side cameras and the objects while the arm is at home.
CUBE, CYLINDER = (0.42, -0.20), (0.62, 0.16)


def red(picture):
    r, g, b = np.moveaxis(picture.astype(float), -1, 0)
    return (r > 60) & (r > 3 * g) & (r > 3 * b)


def blue(picture):
    r, g, b = np.moveaxis(picture.astype(float), -1, 0)
    return (b > 60) & (b > 2.5 * g) & (b > 3 * r)


def orange(picture):
    r, g, b = np.moveaxis(picture.astype(float), -1, 0)
    return (r > 60) & (r > 1.5 * g) & (r < 3 * g) & (g > 3 * b)


def project(intrinsics, pose, points):
    """Pixels (n, 2) as (u, v) of points (n, 3) in the world, with their depths (n,)."""
    local = (np.atleast_2d(points) - pose[:3, 3]) @ pose[:3, :3]
    homogeneous = local @ intrinsics.matrix().T
    return homogeneous[:, :2] / homogeneous[:, 2:], local[:, 2]


class Stage:
    """The world with the objects put where a test wants them."""

    def __init__(self, look, size=96, shadows=True):
        self.model = scene.build(look, 0.002)
        self.data = mujoco.MjData(self.model)
        self.cameras = {name: RayCamera(self.model, name, size, size, shadows) for name in scene.CAMERAS}

    def put(self, cube=CUBE, cylinder=CYLINDER):
        self.data.qpos[:6], self.data.qpos[6:8] = arm.HOME, arm.FINGER_TRAVEL
        for name, place in (("cube", cube), ("cylinder", cylinder)):
            self.data.joint(name).qpos = [*place, scene.object_height(name), 1, 0, 0, 0]
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        return self

    def render(self, name):
        return self.cameras[name].render(self.data)

    def project(self, name, points):
        return project(self.cameras[name].intrinsics, self.cameras[name].pose(self.data), points)


@pytest.fixture(scope="module")
def stage(config):
    return Stage(config.scene)


@pytest.mark.parametrize("camera", ["front", "side"])
def test_objects_have_their_colour_where_they_project_to(stage, camera):
    picture = stage.put().render(camera)
    places = np.array([(*CUBE, scene.object_height("cube")), (*CYLINDER, scene.object_height("cylinder"))])
    pixels, depth = stage.project(camera, places)
    assert (depth > 0).all()
    for (u, v), looks in zip(np.rint(pixels).astype(int), (red, blue), strict=True):
        assert looks(picture)[v, u]


@pytest.mark.parametrize("camera", ["front", "side"])
def test_coloured_pixels_are_nowhere_else(stage, camera):
    picture = stage.put().render(camera)
    half = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
    for place, size, name, looks in (
        (CUBE, (scene.CUBE_EDGE,) * 3, "cube", red),
        (CYLINDER, (2 * scene.CYLINDER_RADIUS, 2 * scene.CYLINDER_RADIUS, scene.CYLINDER_HEIGHT), "cylinder", blue),
    ):
        corners, _ = stage.project(camera, np.array([*place, scene.object_height(name)]) + half * size)
        v, u = np.nonzero(looks(picture))
        assert len(u) >= 20
        assert u.min() >= corners[:, 0].min() - 0.5
        assert u.max() <= corners[:, 0].max() + 0.5
        assert v.min() >= corners[:, 1].min() - 0.5
        assert v.max() <= corners[:, 1].max() + 0.5


@settings(max_examples=25)
@given(x=st.floats(0.36, 0.50), y=st.floats(-0.24, -0.16))
def test_a_moved_cube_moves_in_the_picture_as_it_projects(stage, x, y):
    """Where the pixels of the cube are on average is where its centre projects to, within one pixel, all over a free area."""
    stage.put(cube=(x, y))
    for camera in ("front", "side"):
        v, u = np.nonzero(red(stage.render(camera)))
        pixels, _ = stage.project(camera, np.array([x, y, scene.object_height("cube")]))
        np.testing.assert_allclose([u.mean(), v.mean()], pixels[0], atol=1.0)


@pytest.mark.parametrize(
    ("camera", "cube", "move", "right", "down"),
    [
        ("side", CUBE, (0.08, 0.0), 1, 0),  # it stands on the right of the arm (y < 0) and looks left: forward is right
        ("side", CUBE, (0.0, 0.06), 0, -1),  # further away on the table is higher in the picture
        ("front", CUBE, (0.0, 0.06), 1, -1),  # it stands before the arm on its right: left is right and further away
        ("front", CUBE, (0.08, 0.0), 1, 1),  # forward comes nearer
        ("wrist", (0.55, 0.0), (0.0, 0.04), 1, 0),  # it looks down and back at the arm: the arm's left is right
        ("wrist", (0.55, 0.0), (0.03, 0.0), 0, 1),  # and away from the arm is down
    ],
)
def test_directions_of_the_world_in_the_picture(stage, camera, cube, move, right, down):
    """An anchor outside the camera's own mathematics: no pose or matrix of ours is used."""
    v0, u0 = (axis.mean() for axis in np.nonzero(red(stage.put(cube=cube).render(camera))))
    v1, u1 = (axis.mean() for axis in np.nonzero(red(stage.put(cube=(cube[0] + move[0], cube[1] + move[1])).render(camera))))
    assert np.sign(u1 - u0) * (abs(u1 - u0) > 1.5) == right
    assert np.sign(v1 - v0) * (abs(v1 - v0) > 1.0) == down


def test_the_arm_stands_upright_in_the_outside_views(stage):
    stage.put()
    for camera in ("front", "side"):
        picture = stage.render(camera)
        pixels, _ = stage.project(camera, np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.3]]))
        assert pixels[0, 1] > pixels[1, 1] + 5
        gripper, _ = stage.project(camera, np.array([0.5, 0.0, 0.2]))
        v, u = np.nonzero(orange(picture))
        assert len(u) >= 8
        assert np.hypot(u.mean() - gripper[0, 0], v.mean() - gripper[0, 1]) < 8


def test_wrist_camera_sees_both_fingers_and_the_table_below_the_tool(stage):
    stage.put()
    picture = stage.render("wrist")
    fingers = np.array([[0.5, -arm.FINGER_TRAVEL - 0.008, 0.2], [0.5, arm.FINGER_TRAVEL + 0.008, 0.2]])
    pixels, _ = stage.project("wrist", fingers)
    assert all(orange(picture)[v, u] for u, v in np.rint(pixels).astype(int))
    below, _ = stage.project("wrist", np.array([0.5, 0.0, 0.0]))
    u, v = np.rint(below[0]).astype(int)
    table = stage.model.geom("table")
    checker = np.stack([table.rgba[:3], table.user[1:]])
    hue = picture[v, u] / picture[v, u].sum()
    assert np.abs(hue - checker[0] / checker[0].sum()).max() < 0.02
    assert orange(picture)[:, :48].sum() > 100
    assert orange(picture)[:, 48:].sum() > 100


def test_wrist_camera_rides_on_the_tool(config):
    moving = EmbeddedArm(config, 3)
    relative = np.linalg.inv(moving.tool_pose()) @ moving.camera_pose("wrist")
    fixed = moving.camera_pose("front")
    moving.command_joint_velocity([0.5, 0.2, -0.3, 0.4, 0.5, 0.6])
    moving.advance(0.1)
    np.testing.assert_allclose(np.linalg.inv(moving.tool_pose()) @ moving.camera_pose("wrist"), relative, atol=1e-9)
    assert np.linalg.norm(moving.camera_pose("wrist")[:3, 3] - relative[:3, 3]) > 0.01
    np.testing.assert_array_equal(moving.camera_pose("front"), fixed)


def test_front_camera_frames_the_whole_workspace(config, embedded_arm):
    low, high = config.workspace.low, config.workspace.high
    corners = np.array(list(itertools.product(*zip((low[0], low[1], 0.0), high, strict=True))))
    pixels, depth = project(embedded_arm.intrinsics("front"), embedded_arm.camera_pose("front"), corners)
    assert (depth > 0).all()
    assert pixels.min() >= 0
    assert (pixels.max(axis=0) <= (config.width - 1, config.height - 1)).all()


@given(
    fovy=st.floats(10, 120),
    width=st.integers(2, 60),
    height=st.integers(2, 60),
)
def test_rays_and_camera_matrix_are_inverse_to_each_other(fovy, width, height):
    lens = Intrinsics.from_fovy(fovy, width, height)
    rays = lens.rays()
    pixels = rays @ lens.matrix().T
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    np.testing.assert_allclose(pixels[:, :2] / pixels[:, 2:], np.stack([u.ravel(), v.ravel()], axis=1), atol=1e-9)
    half = np.arctan2(height / 2, lens.fy)
    assert 2 * np.degrees(half) == pytest.approx(fovy)


def test_size_changes_the_sampling_and_not_the_view(config):
    small, large = Stage(config.scene, 48).put(), Stage(config.scene, 144).put()
    for camera in scene.CAMERAS:
        # The centre of each 3 x 3 block is the very ray of the small picture.
        np.testing.assert_array_equal(small.render(camera), large.render(camera)[1::3, 1::3])


def test_pictures_repeat_byte_for_byte_and_wait_for_no_graphics(config):
    first, second = Stage(config.scene).put(), Stage(config.scene).put()
    for camera in scene.CAMERAS:
        picture = first.render(camera)
        assert picture.shape == (96, 96, 3)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, first.render(camera))
        np.testing.assert_array_equal(picture, second.render(camera))


def test_shadows_only_darken_and_fall_away_from_the_lamp(config):
    behind = dataclasses.replace(config.scene, light_position=(0.2, 1.6, 2.0))
    lit, shaded = Stage(behind, shadows=False).put(), Stage(behind).put()
    loss = lit.render("front").astype(int) - shaded.render("front")
    assert loss.min() >= 0
    lamp, foot, top = np.array(behind.light_position), np.array([*CYLINDER, 0.0]), np.array([*CYLINDER, scene.CYLINDER_HEIGHT])
    tip = lamp + (top - lamp) * lamp[2] / (lamp[2] - top[2])
    pixels, _ = shaded.project("front", np.array([foot + 0.8 * (tip - foot), foot - 0.8 * (tip - foot)]))
    (u, v), (u_opposite, v_opposite) = np.rint(pixels).astype(int)
    assert loss[v, u].max() > 20
    assert loss[v_opposite, u_opposite].max() == 0


def test_scene_parameters_shift_the_domain(config):
    plain = Stage(config.scene).put().render("front").astype(int)
    dark = Stage(dataclasses.replace(config.scene, light_intensity=0.2)).put().render("front")
    assert dark.mean() < plain.mean() - 10
    green = Stage(dataclasses.replace(config.scene, background_colour=(0.1, 0.9, 0.1))).put().render("front")
    changed = (green != plain).any(axis=-1)
    assert changed[0, -1]
    assert not changed[60:, 30:60].any()
    for thing in ("box", "ball"):
        beside = Stage(dataclasses.replace(config.scene, distractor=thing)).put().render("front")
        assert 20 < (beside != plain).any(axis=-1).sum() < 2000
    shifted = Stage(dataclasses.replace(config.scene, camera_offset=(0.0, 0.1, 0.0))).put()
    v, u = np.nonzero(red(shifted.render("front")))
    pixels, _ = shifted.project("front", np.array([*CUBE, scene.object_height("cube")]))
    np.testing.assert_allclose([u.mean(), v.mean()], pixels[0], atol=1.0)
    assert u.mean() < np.nonzero(red(plain))[1].mean() - 2


def test_an_unknown_camera_is_refused_with_the_known_ones(embedded_arm):
    with pytest.raises(SimulationError, match="front, side, wrist"):
        embedded_arm.render("frnt")
