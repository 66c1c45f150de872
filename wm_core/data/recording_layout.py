"""What the rows of a recorded dataset hold, and how it is called; known before the first message comes."""

from __future__ import annotations

from wm_core.data.lerobot_writer import Layout
from wm_core.data.recording_config import COMMANDED, GUARD, JOINTS, REQUESTED, TOOL_POSE, Contract, RecordingConfig
from wm_core.robot.proprioception import ACTION_NAMES, TOOL_NAMES, state_names
from wm_core.robot.urdf import read_chain

ACTION, ASKED, STATE = "action", "action.requested", "observation.state"
TOLD, GUARDED = "observation.commanded", "observation.guard"
GUARD_NAMES = ("state", "scale", "limiting")
GRIPPER = "gripper"


def measured_names(config: RecordingConfig, joints: tuple[str, ...]) -> tuple[str, ...]:
    """What the numbers of a state are called where no guard tells of the tool: its pose and the joints, if they are measured."""
    return (*(TOOL_NAMES[:6] if config.of(TOOL_POSE) else ()), *(joints if config.of(JOINTS) else ()))


def layout_of(contract: Contract, sizes: dict[str, tuple[int, int]]) -> Layout:
    """What the rows of a contract's episodes hold; `sizes` are rows and columns of the pictures by the name of their stream."""
    config, joints = contract.config, read_chain(contract.urdf, contract.base_link, contract.tool_link).names
    names: dict[str, tuple[str, ...]] = {}
    if config.of(COMMANDED):
        names |= {TOLD: (*joints, GRIPPER), ACTION: ACTION_NAMES, STATE: state_names(joints if config.of(JOINTS) else ())}
    elif measured := measured_names(config, joints):
        names[STATE] = measured
    if config.of(REQUESTED):
        names[ASKED if TOLD in names else ACTION] = ACTION_NAMES
    if config.of(GUARD):
        names[GUARDED] = GUARD_NAMES
    cameras = {f"observation.images.{camera.name}": sizes[camera.name] for camera in config.cameras}
    return Layout(config.fps, config.robot, cameras, names)
