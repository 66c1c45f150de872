"""A ray camera: pictures of a MuJoCo model that need no graphics library and are the same, byte for byte, on every repetition.

One ray per pixel gives the surface and its normal; a second cast, from the light, gives the shadow. The model alone says what a picture
looks like: geom_rgba, the first light, the headlight, and two things MuJoCo has no name for: the custom numeric `background` (three
colours: horizon, and zenith) and per geom the user data `square r g b`, a checker of that edge length (m) and second colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from wm_core.robot import rotation
from wm_core.robot.rotation import Array

Picture = NDArray[np.uint8]
OPTICAL = np.diag([1.0, -1.0, -1.0])
"""From MuJoCo's camera axes (x right, y up, looking along -z) to the optical frame of REP 103 (x right, y down, z forward)."""
SHADOW_BIAS = 1e-3  # metres by which a surface may shade itself through rounding
FAR = 50.0


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole without distortion: u = fx x/z + cx, v = fy y/z + cy, pixel centres at whole numbers; x, y, z in the optical frame."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def from_fovy(cls, degrees: float, width: int, height: int) -> Intrinsics:
        focal = 0.5 * height / np.tan(0.5 * np.deg2rad(degrees))
        return cls(width, height, focal, focal, 0.5 * (width - 1), 0.5 * (height - 1))

    def matrix(self) -> Array:
        """The camera matrix K (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def rays(self) -> Array:
        """Unit directions through all pixel centres, row by row, in the optical frame: (height * width, 3)."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        directions = np.stack([(u - self.cx) / self.fx, (v - self.cy) / self.fy, np.ones(u.shape)], axis=-1).reshape(-1, 3)
        return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def look_at(position: Array, target: Array) -> Array:
    """The rotation (3, 3) of a MuJoCo camera at `position` that looks at `target`, with its picture's top towards the world's z."""
    back = (position - target) / np.linalg.norm(position - target)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back], axis=1)


class RayCamera:
    """One camera of a model; `render` reads MjData that mj_kinematics and mj_camlight have brought up to date."""

    def __init__(self, model: mujoco.MjModel, name: str, width: int, height: int, shadows: bool = True) -> None:
        self._model = model
        self._camera = model.camera(name).id
        self.intrinsics = Intrinsics.from_fovy(float(model.cam_fovy[self._camera]), width, height)
        self._rays = self.intrinsics.rays()
        self._shadows = shadows
        self._horizon, self._zenith = model.numeric("background").data.reshape(2, 3)
        count = len(self._rays)
        self._geom = np.empty(count, dtype=np.int32)
        self._distance = np.empty(count)
        self._normal = np.empty(3 * count)

    def pose(self, data: mujoco.MjData) -> Array:
        """The optical frame in the world, 4x4."""
        return rotation.pose(data.cam_xpos[self._camera], data.cam_xmat[self._camera].reshape(3, 3) @ OPTICAL)

    def render(self, data: mujoco.MjData) -> Picture:
        """An RGB picture (height, width, 3)."""
        pose = self.pose(data)
        eye, directions = pose[:3, 3], self._rays @ pose[:3, :3].T
        self._cast(data, eye, directions, self._geom, self._distance, self._normal)
        height = np.clip(directions[:, 2:], 0.0, 1.0)
        colours = self._horizon + height * (self._zenith - self._horizon)
        seen = np.flatnonzero(self._geom >= 0)
        points = eye + self._distance[seen, None] * directions[seen]
        light = self._light(data, points, self._normal.reshape(-1, 3)[seen], directions[seen])
        colours[seen] = self._albedo(data, points, self._geom[seen]) * light
        picture = np.clip(255.0 * colours + 0.5, 0.0, 255.0).astype(np.uint8)
        return picture.reshape(self.intrinsics.height, self.intrinsics.width, 3)

    def _cast(
        self, data: mujoco.MjData, origin: Array, directions: Array, geom: NDArray[np.int32], distance: Array, normal: Array | None
    ) -> None:
        mujoco.mj_multiRay(self._model, data, origin, directions.ravel(), None, True, -1, geom, distance, normal, len(directions), FAR)

    def _light(self, data: mujoco.MjData, points: Array, normals: Array, directions: Array) -> Array:
        """Ambient light, a headlight at the eye and one lamp, by Lambert's law: (n, 3)."""
        model = self._model
        facing = np.clip(-_dot(normals, directions), 0.0, 1.0)
        from_lamp = points - data.light_xpos[0]
        distance = np.sqrt(_dot(from_lamp, from_lamp))
        from_lamp /= distance[:, None]
        lit = np.clip(-_dot(normals, from_lamp), 0.0, 1.0)
        if self._shadows:
            lit *= self._reached(data, from_lamp, distance, lit > 0.0)
        ambient = model.light_ambient[0] + model.vis.headlight.ambient
        return ambient + facing[:, None] * model.vis.headlight.diffuse + lit[:, None] * model.light_diffuse[0]

    def _reached(self, data: mujoco.MjData, from_lamp: Array, distance: Array, asked: NDArray[np.bool_]) -> Array:
        """1 where the lamp's ray reaches the point, 0 where something nearer stops it: (n,)."""
        which = np.flatnonzero(asked)
        geom, first = np.empty(len(which), dtype=np.int32), np.empty(len(which))
        self._cast(data, data.light_xpos[0], from_lamp[which], geom, first, None)
        reached = np.zeros(len(asked))
        reached[which] = first >= distance[which] - SHADOW_BIAS
        return reached

    def _albedo(self, data: mujoco.MjData, points: Array, geoms: NDArray[np.int32]) -> Array:
        """The surface's own colour (n, 3): the geom's, or its checker's second one on every other square."""
        colours = self._model.geom_rgba[geoms, :3].astype(np.float64)
        for geom in np.flatnonzero(self._model.geom_user[:, 0] > 0.0):
            here = np.flatnonzero(geoms == geom)
            local = (points[here] - data.geom_xpos[geom]) @ data.geom_xmat[geom].reshape(3, 3)
            square, *second = self._model.geom_user[geom]
            # Drawn in by a hair, so that a side face on the border of two squares does not flicker between them.
            odd = np.floor(local[:, :2] * (1.0 - 1e-9) / square).astype(np.int64).sum(axis=1) % 2 == 1
            colours[here[odd]] = second
        return colours


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("ij,ij->i", a, b)
