"""What the guard is doing and why: its modes, its codes, and one sentence for each code."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Mode(IntEnum):
    """The three states of the guard; the numbers are those of msg/SafetyStatus."""

    DISARMED = 0
    ARMED = 1
    STOPPED = 2


class Code(StrEnum):
    """A stable word for programs; `SENTENCES` has the one for people."""

    OK = "OK"
    DISARMED = "DISARMED"
    IDLE = "IDLE"
    LIMITED = "LIMITED"
    SINGULARITY_SLOW = "SINGULARITY_SLOW"
    SINGULARITY_HALT = "SINGULARITY_HALT"
    COLLISION_SLOW = "COLLISION_SLOW"
    COLLISION_STOP = "COLLISION_STOP"
    BARRIER_RELAXED = "BARRIER_RELAXED"
    COMMAND_EXPIRED = "COMMAND_EXPIRED"
    JOINT_STATE_LATE = "JOINT_STATE_LATE"
    SOLVER_FAILED = "SOLVER_FAILED"
    VERIFICATION_FAILED = "VERIFICATION_FAILED"

    COMMAND_FRAME = "COMMAND_FRAME"
    COMMAND_VALUE = "COMMAND_VALUE"
    COMMAND_STEP = "COMMAND_STEP"
    COMMAND_STAMP = "COMMAND_STAMP"
    COMMAND_STALE = "COMMAND_STALE"
    MEASUREMENT_NAMES = "MEASUREMENT_NAMES"
    MEASUREMENT_VALUE = "MEASUREMENT_VALUE"
    MEASUREMENT_STAMP = "MEASUREMENT_STAMP"

    ESTOP = "ESTOP"
    COMMANDS_INVALID = "COMMANDS_INVALID"
    JOINT_STATE_STALE = "JOINT_STATE_STALE"
    PAST_LIMIT = "PAST_LIMIT"
    TRACKING_ERROR = "TRACKING_ERROR"
    BARRIER_STUCK = "BARRIER_STUCK"
    SECOND_PUBLISHER = "SECOND_PUBLISHER"
    TICK_STALLED = "TICK_STALLED"
    CLOCK_BACKWARDS = "CLOCK_BACKWARDS"

    ARMED = "ARMED"
    STILL_MOVING = "STILL_MOVING"
    REFUSED_ESTOP = "REFUSED_ESTOP"
    REFUSED_NO_JOINT_STATE = "REFUSED_NO_JOINT_STATE"
    REFUSED_STALE_JOINT_STATE = "REFUSED_STALE_JOINT_STATE"
    REFUSED_MOVING = "REFUSED_MOVING"
    REFUSED_OUTSIDE_LIMITS = "REFUSED_OUTSIDE_LIMITS"
    REFUSED_INPUT_ACTIVE = "REFUSED_INPUT_ACTIVE"
    REFUSED_NO_LISTENER = "REFUSED_NO_LISTENER"
    REFUSED_OTHER_PUBLISHER = "REFUSED_OTHER_PUBLISHER"


SENTENCES: dict[Code, str] = {
    Code.OK: "The command is carried out as it was asked.",
    Code.DISARMED: "Nothing is sent to the arm; call ~/arm.",
    Code.IDLE: "Armed and at rest; no command asks for motion.",
    Code.LIMITED: "Limits cut the command.",
    Code.SINGULARITY_SLOW: "Slowed near a singularity; moving away from it is free.",
    Code.SINGULARITY_HALT: "Halted at a singularity; move away from it.",
    Code.COLLISION_SLOW: "Slowed because the arm comes near itself or the table.",
    Code.COLLISION_STOP: "Stopped before the arm touches itself or the table; moving away is free.",
    Code.BARRIER_RELAXED: "A wall or keep-out sphere cannot be kept at the acceleration limit; it was relaxed.",
    Code.COMMAND_EXPIRED: "The last command has expired; the arm brakes.",
    Code.JOINT_STATE_LATE: "No fresh joint state; the arm brakes.",
    Code.SOLVER_FAILED: "The solver gave no usable answer; the arm brakes.",
    Code.VERIFICATION_FAILED: "The computed motion broke a limit and was not sent; the arm brakes.",
    Code.COMMAND_FRAME: "Command refused: its frame is neither the base nor the tool frame.",
    Code.COMMAND_VALUE: "Command refused: a value is not a usable number.",
    Code.COMMAND_STEP: "Command refused: its step is not a time that a command may last.",
    Code.COMMAND_STAMP: "Command refused: its stamp lies in the future.",
    Code.COMMAND_STALE: "Command ignored: it came too late to be obeyed.",
    Code.MEASUREMENT_NAMES: "Joint state refused: joints are missing, repeated or in another order than before.",
    Code.MEASUREMENT_VALUE: "Joint state refused: a value is not a usable number.",
    Code.MEASUREMENT_STAMP: "Joint state refused: its stamp does not follow the one before, or lies in the future.",
    Code.ESTOP: "Emergency stop; call ~/arm to go on.",
    Code.COMMANDS_INVALID: "Stopped: too many invalid commands within a second.",
    Code.JOINT_STATE_STALE: "Stopped: joint states ceased.",
    Code.PAST_LIMIT: "Stopped: a joint was measured past its hard limit.",
    Code.TRACKING_ERROR: "Stopped: the arm does not follow its commands.",
    Code.BARRIER_STUCK: "Stopped: a wall or keep-out sphere had to be relaxed for too long.",
    Code.SECOND_PUBLISHER: "Stopped: somebody else publishes commands to the arm.",
    Code.TICK_STALLED: "Stopped: the guard itself was held up for longer than the arm waits.",
    Code.CLOCK_BACKWARDS: "Disarmed: ROS time went backwards.",
    Code.ARMED: "Armed.",
    Code.STILL_MOVING: "Not disarmed: the arm still moves; stop it first.",
    Code.REFUSED_ESTOP: "Not armed: the emergency stop is still held; release it first.",
    Code.REFUSED_NO_JOINT_STATE: "Not armed: no valid joint state has come in.",
    Code.REFUSED_STALE_JOINT_STATE: "Not armed: the newest joint state is too old.",
    Code.REFUSED_MOVING: "Not armed: the arm moves, or its speed is not known yet.",
    Code.REFUSED_OUTSIDE_LIMITS: "Not armed: a joint is past its hard limit.",
    Code.REFUSED_INPUT_ACTIVE: "Not armed: commands ask for motion; stop sending them first.",
    Code.REFUSED_NO_LISTENER: "Not armed: nobody listens to the commands.",
    Code.REFUSED_OTHER_PUBLISHER: "Not armed: somebody else publishes commands to the arm.",
}


def sentence(code: Code, detail: str = "") -> str:
    """The sentence of `code`, with what it was in particular."""
    return f"{SENTENCES[code]} ({detail})" if detail else SENTENCES[code]
