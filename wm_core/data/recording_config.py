"""The contract of a recording: which streams it holds, how often each comes and how old it may be; config/record_lerobot.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wm_core import configuration
from wm_core.configuration import setting
from wm_core.data.clip import Preprocessing
from wm_core.data.lerobot_writer import VideoSettings
from wm_core.data.message_types import own
from wm_core.errors import ConfigurationError

CAMERA, JOINTS, TOOL_POSE = "camera", "joint_states", "tool_pose"
COMMANDED, REQUESTED, GUARD = "commanded", "requested", "guard_status"
TYPES = {
    CAMERA: ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"),
    JOINTS: ("sensor_msgs/msg/JointState",),
    COMMANDED: ("sensor_msgs/msg/JointState",),
    TOOL_POSE: ("geometry_msgs/msg/PoseStamped",),
    REQUESTED: (own("DeltaEECommand"), "geometry_msgs/msg/TwistStamped"),
    GUARD: (own("SafetyStatus"),),
}
ONCE = (JOINTS, TOOL_POSE, COMMANDED, REQUESTED, GUARD)


@dataclass(frozen=True)
class StreamConfig:
    """One topic that is recorded."""

    name: str = setting("name in the dataset: of a camera, observation.images.NAME")
    topic: str = setting("topic, relative to the namespace of the recorder")
    kind: str = setting("what it is", choices=tuple(TYPES))
    rate: float = setting("messages per second that are expected; 0: it comes when it likes", unit="Hz", low=0.0, high=2000.0)
    age: float = setting("age beyond which its newest message is not valid any more", unit="s", low=0.001, high=60.0)


@dataclass(frozen=True)
class RecordingConfig:
    """Everything that an episode depends on beside the messages."""

    fps: int = setting("rows of the dataset per second", unit="Hz", low=1, high=240)
    robot: str = setting("label of the robot, where a request gives none")
    workspace: str = setting("label of the workspace, where a request gives none")
    task: str = setting("what is being done, in words, where a request gives none")
    streams: tuple[StreamConfig, ...] = setting("the topics; each has name, topic, kind, rate and age")
    video: VideoSettings = setting("how pictures become video")
    preprocessing: Preprocessing = setting(
        "how pictures, which are kept as they come, are brought to size to be learned from", default=Preprocessing()
    )
    opening: float = setting("opening of a gripper that was never commanded: closed .. open", low=0.0, high=1.0, default=1.0)
    keep_journals: bool = setting("whether what was captured stays on disk once it is in the dataset", default=False)
    free_space: float = setting("room that is left on the disk; with less nothing is recorded", unit="MB", low=1.0, high=1e7, default=500.0)
    clock_difference: float = setting(
        "how far the stamps of a stream may be from the recorder's clock, before or behind", unit="s", low=0.001, high=3600.0, default=0.5
    )
    linger: float = setting(
        "how long the exporter waits for another episode before it ends: starting it takes ten seconds", unit="s", low=0.0, high=86400.0,
        default=300.0,
    )  # fmt: skip

    def __post_init__(self) -> None:
        names = [stream.name for stream in self.streams]
        topics = [stream.topic for stream in self.streams]
        for what, given in (("name", names), ("topic", topics)):
            twice = sorted({one for one in given if given.count(one) > 1})
            if twice:
                raise ConfigurationError(f"two streams have one {what}", got=", ".join(twice), allowed="each once", mend="streams")
        kinds = [stream.kind for stream in self.streams]
        wrong = [kind for kind in ONCE if kinds.count(kind) > 1]
        if wrong or CAMERA not in kinds:
            got = f"{kinds.count(CAMERA)} cameras, twice: {', '.join(wrong) or 'none'}"
            raise ConfigurationError("the streams make no episode", got=got, allowed="a camera, and one of each other kind", mend="streams")
        if COMMANDED in kinds and TOOL_POSE in kinds:
            mend = "leave one of the two streams out"
            raise ConfigurationError("two streams tell the pose of the tool", got=f"{COMMANDED} and {TOOL_POSE}", allowed="one", mend=mend)

    @property
    def cameras(self) -> tuple[StreamConfig, ...]:
        return tuple(stream for stream in self.streams if stream.kind == CAMERA)

    def of(self, kind: str) -> StreamConfig | None:
        """The stream of a kind that there is one of."""
        return next((stream for stream in self.streams if stream.kind == kind), None)


@dataclass(frozen=True)
class Contract:
    """A configuration, and the robot whose joints are recorded: a URDF text, and the links that poses are between."""

    config: RecordingConfig
    urdf: str
    base_link: str
    tool_link: str

    def plain(self) -> dict[str, Any]:
        """For JSON; `Contract.of` reads it back."""
        return asdict(self)

    @staticmethod
    def of(plain: Mapping[str, Any], source: str) -> Contract:
        config = configuration.build(RecordingConfig, plain["config"], source)
        return Contract(config, str(plain["urdf"]), str(plain["base_link"]), str(plain["tool_link"]))
