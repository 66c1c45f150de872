"""What a dataset means: which camera plays which role, and which of its numbers are the tool's motion; config/datasets/*.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from wm_core.configuration import setting
from wm_core.errors import ConfigurationError


@dataclass(frozen=True)
class Part:
    """Some numbers of one column."""

    key: str = setting("Name of the column")
    width: int = setting("How many numbers the column holds; a dataset in which it differs is refused", low=1, high=1024)
    take: tuple[int, ...] = setting("Which of them, from 0", low=0, high=1023)
    scale: float = setting("What each is multiplied by to become metres or rad", default=1.0)

    def __post_init__(self) -> None:
        if any(index >= self.width for index in self.take):
            raise ConfigurationError(
                f"{self.key} has no number {max(self.take)}", got=self.take, allowed=f"0 .. {self.width - 1}", mend="take"
            )


@dataclass(frozen=True)
class ActionMapping:
    """How the 7 numbers of an action (translation m, rotation vector rad, both in the base's axes, gripper 0 closed .. 1 open) are found.

    `delta`: a row says how the tool moves until the next row. `pose`: a row says where the tool is; the action is what leads to the next.
    """

    kind: str = setting("Whether rows hold deltas or poses", choices=("delta", "pose"))
    translation: Part = setting("Where the three numbers of the translation or position are")
    rotation: Part = setting("Where the numbers of the rotation are")
    rotation_form: str = setting(
        "How the rotation is written; euler_xyz turns about the fixed x, then y, then z",
        choices=("rotation_vector", "euler_xyz", "quaternion_xyzw"),
    )
    gripper: Part = setting("Where the one number of the gripper is")
    gripper_closed: float = setting("The number of a closed gripper")
    gripper_open: float = setting("The number of an open gripper")

    def __post_init__(self) -> None:
        wanted = {"translation": 3, "rotation": 4 if self.rotation_form == "quaternion_xyzw" else 3, "gripper": 1}
        for name, count in wanted.items():
            got = getattr(self, name).take
            if len(got) != count:
                raise ConfigurationError(
                    f"the action's {name} has another length", got=got, allowed=f"{count} numbers", mend=f"action.{name}.take"
                )
        if self.gripper_open == self.gripper_closed:
            raise ConfigurationError("an open gripper looks like a closed one", got=self.gripper_open, mend="action.gripper_open")

    def parts(self) -> tuple[Part, Part, Part]:
        return self.translation, self.rotation, self.gripper


@dataclass(frozen=True)
class DatasetConfig:
    """One kind of dataset; where a copy of it lies is said elsewhere."""

    name: str = setting("What reports call it")
    fps: float = setting("Rows per second; a dataset with another rate is refused", unit="Hz", low=0.1, high=1000.0)
    cameras: dict[str, str] = setting("Role of each camera that is used, and the name of its pictures")
    action: ActionMapping | None = setting("How actions are found; leave it out where they are not known", default=None)
    state: tuple[str, ...] = setting("Columns that tell the arm's own state, one after the other", default=())
    scene: tuple[str, ...] = setting("Columns whose values together name the place an episode was recorded in", default=())

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ConfigurationError(f"dataset {self.name} has no camera", mend="name at least one role under 'cameras'")
