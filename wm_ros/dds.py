"""Fast DDS without shared memory, for processes that nobody else may hold up.

Whenever Fast DDS meets a participant with a shared-memory port it waits for a sign of life from there, 0.33 to 1 s where none comes,
and holds its writers' locks meanwhile (eProsima/Fast-DDS issue 6535): one process killed or started elsewhere then holds up every
`publish` here for ten times longer than an arm waits. Over UDP there is nothing to wait for, and commands and states are small.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

PROFILES = "dds"
VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # read by Fast DDS 2 (Jazzy) and 3
OURS = 'profile_name="wm_ros"'


def avoid_shared_memory(environment: MutableMapping[str, str], rmw: str, config: Path) -> None:
    """Change the `environment` in which ROS will start with middleware `rmw`; how far discovery goes stays as it was asked.

    `config` is the directory of the shipped configuration. Other middlewares than Fast DDS are left alone, and so is a profile of the
    user's own: it may be the only way to the rest of a robot.
    """
    if not rmw.startswith("rmw_fastrtps") or any(_of_the_user(environment[name]) for name in VARIABLES if environment.get(name)):
        return
    here = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE") == "LOCALHOST" or environment.get("ROS_LOCALHOST_ONLY") == "1"
    if here:
        # For these two rmw_fastrtps adds shared memory itself; the profile keeps what they promise.
        environment.pop("ROS_LOCALHOST_ONLY", None)
        environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SUBNET"
    profile = str(config / PROFILES / ("this_machine.xml" if here else "network.xml"))
    environment.update(dict.fromkeys(VARIABLES, profile))


def _of_the_user(profile: str) -> bool:
    """Whether this file is none of ours; one that cannot be read is left for Fast DDS to complain of."""
    try:
        return OURS not in Path(profile).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
