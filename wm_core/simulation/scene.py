"""The world around the arm: table, red cube, blue cylinder, lamp and cameras, with every visible property a plain parameter."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from wm_core.configuration import setting
from wm_core.robot import rotation
from wm_core.robot.rotation import Array
from wm_core.simulation import arm
from wm_core.simulation.camera import look_at

CAMERAS = ("front", "side", "wrist")
OBJECTS = ("cube", "cylinder")
CUBE_EDGE, CYLINDER_RADIUS, CYLINDER_HEIGHT = 0.06, 0.03, 0.09
OBJECT_AREA = ((0.36, -0.24), (0.62, 0.24))
OBJECT_GAP = 0.13  # metres between the centres of two objects
TABLE_LOW, TABLE_HIGH, TABLE_THICKNESS = (-0.25, -0.60), (0.95, 0.60), 0.04


@dataclass(frozen=True)
class Scene:
    """How the world looks; changing these shifts the domain of the pictures and leaves the physics as it is."""

    light_position: tuple[float, float, float] = setting("Where the lamp stands", unit="m", low=-10.0, high=10.0, default=(1.0, -1.2, 2.6))
    light_intensity: float = setting("Brightness of the lamp", low=0.0, high=2.0, default=0.65)
    ambient_intensity: float = setting("Brightness of the light from everywhere", low=0.0, high=2.0, default=0.35)
    background_colour: tuple[float, float, float] = setting(
        "Colour of the background, red green blue", low=0.0, high=1.0, default=(0.62, 0.70, 0.78)
    )
    table_colour: tuple[float, float, float] = setting("Colour of the table's light squares", low=0.0, high=1.0, default=(0.74, 0.68, 0.58))
    cube_colour: tuple[float, float, float] = setting("Colour of the cube", low=0.0, high=1.0, default=(0.88, 0.10, 0.10))
    cylinder_colour: tuple[float, float, float] = setting("Colour of the cylinder", low=0.0, high=1.0, default=(0.08, 0.22, 0.85))
    camera_offset: tuple[float, float, float] = setting(
        "Shift of the front and side cameras, without turning them", unit="m", low=-1.0, high=1.0, default=(0.0, 0.0, 0.0)
    )
    distractor: str = setting("A thing beside the workspace that no task is about", choices=("none", "box", "ball"), default="none")


def build(scene: Scene, physics_step: float) -> mujoco.MjModel:
    """The compiled world; the arm's joints and actuators come first, then the free joints of the objects in the order of OBJECTS."""
    spec = mujoco.MjSpec.from_string(arm.mjcf())
    spec.option.timestep = physics_step
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    spec.nuser_geom = 4
    _add_surroundings(spec, scene)
    _add_objects(spec, scene)
    _add_cameras(spec, np.array(scene.camera_offset))
    return spec.compile()


def draw_layout(generator: np.random.Generator) -> Array:
    """Positions x, y and yaw of the objects on the table, (len(OBJECTS), 3) m and rad, at least OBJECT_GAP apart."""
    while True:
        places = generator.uniform(*OBJECT_AREA, size=(len(OBJECTS), 2))
        yaws = generator.uniform(-np.pi, np.pi, size=(len(OBJECTS), 1))
        if np.linalg.norm(places[0] - places[1]) >= OBJECT_GAP:
            return np.hstack([places, yaws])


def object_height(name: str) -> float:
    """The height of an object's centre, m, when it stands on the table."""
    return {"cube": CUBE_EDGE / 2, "cylinder": CYLINDER_HEIGHT / 2}[name]


def _add_surroundings(spec: mujoco.MjSpec, scene: Scene) -> None:
    grey = scene.ambient_intensity
    spec.visual.headlight.ambient = [0.6 * grey] * 3
    spec.visual.headlight.diffuse = [0.8 * grey] * 3
    ambient, diffuse = [0.4 * grey] * 3, [scene.light_intensity] * 3
    spec.worldbody.add_light(pos=scene.light_position, dir=[0, 0, -1], ambient=ambient, diffuse=diffuse, specular=[0, 0, 0])
    horizon = np.array(scene.background_colour)
    spec.add_numeric(name="background", data=[*horizon, *(0.75 * horizon)], size=6)
    low, high = np.array(TABLE_LOW), np.array(TABLE_HIGH)
    spec.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[*(low + high) / 2, -TABLE_THICKNESS / 2],
        size=[*(high - low) / 2, TABLE_THICKNESS / 2],
        rgba=[*scene.table_colour, 1.0],
        userdata=[0.1, *(0.86 * np.array(scene.table_colour))],
        contype=1,
        conaffinity=3,
    )
    if scene.distractor != "none":
        kind = {"box": mujoco.mjtGeom.mjGEOM_BOX, "ball": mujoco.mjtGeom.mjGEOM_SPHERE}[scene.distractor]
        pos, size = [0.25, 0.48, 0.07], [0.07, 0.05, 0.07]
        spec.worldbody.add_geom(name="distractor", type=kind, pos=pos, size=size, rgba=[0.2, 0.65, 0.25, 1], contype=1, conaffinity=3)


def _add_objects(spec: mujoco.MjSpec, scene: Scene) -> None:
    half = CUBE_EDGE / 2
    shapes = {
        "cube": (mujoco.mjtGeom.mjGEOM_BOX, [half, half, half], scene.cube_colour),
        "cylinder": (mujoco.mjtGeom.mjGEOM_CYLINDER, [CYLINDER_RADIUS, CYLINDER_HEIGHT / 2, 0.0], scene.cylinder_colour),
    }
    for name in OBJECTS:
        kind, size, colour = shapes[name]
        body = spec.worldbody.add_body(name=name)
        body.add_freejoint(name=name)
        body.add_geom(
            name=name,
            type=kind,
            size=size,
            rgba=[*colour, 1.0],
            mass=0.1,
            friction=[1.0, 0.01, 0.0005],
            condim=4,
            contype=1,
            conaffinity=3,
        )


def _add_cameras(spec: mujoco.MjSpec, offset: Array) -> None:
    """Front and side stand in the world; the wrist camera rides on the gripper and looks along the fingers."""
    places = {"front": ((1.52, -0.84, 0.98), (0.36, 0.02, 0.19), 37.0), "side": ((0.35, -1.55, 0.62), (0.35, 0.0, 0.27), 38.0)}
    for name, (position, target, fovy) in places.items():
        quat = rotation.quaternion(look_at(np.array(position), np.array(target)))
        spec.worldbody.add_camera(name=name, pos=np.array(position) + offset, quat=quat, fovy=fovy)
    mount, aim = np.array([0.09, 0.0, 0.045]), np.array([0.0, 0.0, arm.TOOL_LENGTH + 0.08])
    back = (mount - aim) / np.linalg.norm(mount - aim)
    across = np.array([0.0, -1.0, 0.0])
    quat = rotation.quaternion(np.stack([across, np.cross(back, across), back], axis=1))
    spec.body("gripper_link").add_camera(name="wrist", pos=mount, quat=quat, fovy=70.0)
