"""A recording of the embedded arm that moves about, as messages, made in this process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from wm_core import configuration
from wm_core.data.heard import Heard
from wm_core.data.message_types import encoded, typestore
from wm_core.data.recording_config import CAMERA, COMMANDED, GUARD, TYPES, Contract, RecordingConfig
from wm_core.data.to_bag import BagWriter
from wm_core.simulation import arm
from wm_core.simulation.embedded_arm import EmbeddedArm
from wm_core.simulation.sim_config import SimConfig

CONFIG = Path(__file__).resolve().parents[2] / "config"
BEGIN, GIGA = 1000.0, 10**9
TICK, FRAME = 0.02, 0.1  # s


def contract() -> Contract:
    return Contract(configuration.read(RecordingConfig, CONFIG / "record_lerobot.yaml"), arm.urdf(), "base_link", "tool0")


def messages(seconds: float, seed: int = 3) -> list[Heard]:
    """Frames at 10 Hz and words of a guard at 50 Hz while the tool wanders at some 20 cm/s."""
    types, world, draw = typestore().types, EmbeddedArm(configuration.read(SimConfig, CONFIG / "sim_arm.yaml")), np.random.default_rng(seed)
    world.reset(seed)
    heard, way = [], np.zeros(3)

    def header(frame: str):  # type: ignore[no-untyped-def]
        stamp = round((BEGIN + world.time) * GIGA)
        time = types["builtin_interfaces/msg/Time"](sec=stamp // GIGA, nanosec=stamp % GIGA)
        return types["std_msgs/msg/Header"](stamp=time, frame_id=frame)

    def say(topic: str, kind: str, message: object, late: float) -> None:
        heard.append(Heard(topic, TYPES[kind][0], BEGIN + world.time + late, encoded(message, TYPES[kind][0])))

    for tick in range(round(seconds / TICK)):
        if tick % round(FRAME / TICK) == 0:
            pixels = world.render("front")
            shape = {"height": 96, "width": 96, "encoding": "rgb8", "is_bigendian": 0, "step": 288}
            say("/camera/front/image_raw", CAMERA, types[TYPES[CAMERA][0]](header=header("front"), data=pixels.reshape(-1), **shape), 0.03)
            way = 0.6 * way + 0.8 * draw.normal(size=3) * [0.02, 0.02, 0.01]
            world.command_delta(way, np.zeros(3), None, FRAME)
        names, told = [*arm.JOINTS, "gripper"], np.append(world.joint_targets, world.gripper)
        say(
            "/safety_guard/commanded",
            COMMANDED,
            types[TYPES[COMMANDED][0]](header("base_link"), names, told, np.zeros(0), np.zeros(0)),
            0.002,
        )
        if tick % 2 == 0:
            status = types[TYPES[GUARD][0]](header("base_link"), 1, "OK", "", 1.0, ["speed"] if tick % 8 == 0 else [], "", *([0] * 9))
            say("/safety_guard/status", GUARD, status, 0.002)
        world.advance(TICK)
    return sorted(heard, key=lambda one: one.received)


def write_bag(path: Path, heard: list[Heard]) -> Path:
    with BagWriter(path) as writer:
        for one in heard:
            writer.write(one, one.stamp)
    return path


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
