"""A recording of the embedded arm that moves about, as messages, made in this process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from recordings import CONFIG, GIGA, START, guard_status, joint_state, photograph

from wm_core import configuration
from wm_core.data.heard import Heard
from wm_core.data.message_types import encoded, typestore
from wm_core.data.recording_config import CAMERA, COMMANDED, GUARD, TYPES
from wm_core.simulation import arm
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig

TICK, FRAME = 0.02, 0.1  # s
WORDS = "/safety_guard/commanded"


def moving_arm(seconds: float, seed: int = 3, turn: float = 0.0) -> list[Heard]:
    """Frames at 10 Hz and words of a guard at 50 Hz while the tool wanders at some 20 cm/s and turns about z by `turn` (rad/s)."""
    world, draw = EmbeddedArm(configuration.read(SimConfig, CONFIG / "sim_arm.yaml")), np.random.default_rng(seed)
    world.reset(seed)
    heard, way = list[Heard](), np.zeros(3)

    def say(topic: str, kind: str, message: Any, late: float) -> None:
        heard.append(Heard(topic, TYPES[kind][0], START + world.time + late, encoded(message, TYPES[kind][0])))

    for tick in range(round(seconds / TICK)):
        now = START + world.time
        if tick % round(FRAME / TICK) == 0:
            say("/camera/front/image_raw", CAMERA, photograph(world.render("front"), now), 0.03)
            way = 0.6 * way + 0.8 * draw.normal(size=3) * [0.02, 0.02, 0.01]
            world.command_delta(way, np.array([0.0, 0.0, turn * FRAME]), None, FRAME)
        say(WORDS, COMMANDED, joint_state(now, world.gripper, world.joint_targets), 0.002)
        if tick % 2 == 0:
            say("/safety_guard/status", GUARD, guard_status(now, 1.0, ["speed"] if tick % 8 == 0 else []), 0.002)
        world.advance(TICK)
    return sorted(heard, key=lambda one: one.received)


def delayed(heard: list[Heard], topic: str, seconds: float) -> list[Heard]:
    """The same, but what one topic says is stamped later than it was true."""
    late = []
    for one in heard:
        if one.topic == topic:
            message = one.message
            stamp = round((one.stamp + seconds) * GIGA)
            message.header.stamp = replace(message.header.stamp, sec=stamp // GIGA, nanosec=stamp % GIGA)
            late.append(Heard(one.topic, one.kind, one.received + seconds, encoded(message, one.kind)))
        else:
            late.append(one)
    return sorted(late, key=lambda one: one.received)


def of_other_arm(heard: list[Heard]) -> tuple[list[Heard], str]:
    """The same with other names of the joints, and the description of the arm that has these."""
    others = []
    for one in heard:
        message = replace(one).message
        if one.topic == WORDS:
            message.name = [f"lab_{name}" for name in message.name]
        others.append(replace(one, data=encoded(message, one.kind)))
    urdf = arm.urdf()
    for name in arm.JOINTS:
        urdf = urdf.replace(f'"{name}"', f'"lab_{name}"')
    head, name, tail = urdf.partition('<robot name="')
    return others, f"{head}{name}lab_{tail}"


def described(urdf: str, received: float) -> Heard:
    """What tells which arm it is."""
    kind = "std_msgs/msg/String"
    return Heard("/robot_description", kind, received, encoded(typestore().types[kind](urdf), kind))
