"""The settings of a running controller, config/mpc_controller.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from wm_core.configuration import setting
from wm_core.device import DEVICES, PRECISIONS
from wm_core.planning.pursuit import PursuitConfig
from wm_core.planning.sight import SightConfig


@dataclass(frozen=True)
class PaceConfig:
    """When commands are sent, and when plans are made."""

    rate: float = setting("Steps of control per second; a step of the model is a whole number of them", unit="Hz", low=1.0, high=100.0)
    validity: float = setting("Steps for which a command may be obeyed", low=1.0, high=5.0, live=True)
    replan: float = setting("Shortest time between the beginnings of two plans", unit="s", low=0.0, high=10.0, live=True)
    deadline: float = setting("Time a plan may take; 0: as long as all its iterations take", unit="s", low=0.0, high=60.0, live=True)
    stall: float = setting("Time without a new plan after which the goal is given up", unit="s", low=0.1, high=60.0, live=True)


@dataclass(frozen=True)
class ControllerConfig:
    """Everything of the node mpc_controller but how plans are searched for, which is in a file of its own."""

    world_model: str = setting("Folder of the world model's checkpoint; empty: the embedded one that ships")
    encoder: str = setting("Encoder of goal pictures, as encoder.yaml takes it; empty: the embedded one that ships")
    decoder: str = setting("Folder of a decoder that draws what is imagined; empty: the embedded one for the embedded model, else none")
    goals: str = setting("Folder of the goal library; empty: wm_ros/goals where this user's data is kept")
    planner: str = setting("How plans are searched for, a file beside this one")
    guard: str = setting("The limits of the safety guard, a file beside this one")
    servers: tuple[str, ...] = setting("Names of the world_model nodes that imagine; an empty list: this process does")
    patience: float = setting("Time that a server may take for its share of the samples", unit="s", low=0.05, high=60.0)
    device: str = setting("Where encoder and model run; auto: a GPU where there is one", choices=DEVICES)
    precision: str = setting("Numbers they compute in", choices=tuple(PRECISIONS))
    threads: int = setting("CPU threads, 0: as many as torch likes", low=0, high=256)
    opening: float = setting("Opening of a gripper that was never commanded, 0 closed, 1 open", low=0.0, high=1.0)
    doubt: float = setting(
        "Largest spread of imagined futures, and error of the last steps, in calibrated ones, to accept and pursue a goal with; 0: any",
        low=0.0,
        high=1000.0,
        live=True,
    )
    pace: PaceConfig = setting("When commands are sent, and when plans are made")
    sight: SightConfig = setting("When what is seen and felt is not to be trusted any more")
    pursuit: PursuitConfig = setting("When a goal counts as reached, and when it is given up")
