"""The environment variables under which the embedded ROS works; `.venv/ros_environment.sh` holds them as shell exports."""

from __future__ import annotations

import shlex
from pathlib import Path

from embedded_ros.prefix import HERE

# Fast DDS's own shared-memory segment (512 KB) is smaller than one 640x480 image: half of the images would be lost.
SEGMENT_BYTES = 16 * 1024 * 1024
PROFILE = f"""<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>shared_memory</transport_id>
      <type>SHM</type>
      <segment_size>{SEGMENT_BYTES}</segment_size>
      <maxMessageSize>{SEGMENT_BYTES // 4}</maxMessageSize>
    </transport_descriptor>
    <transport_descriptor>
      <transport_id>udp</transport_id>
      <type>UDPv4</type>
    </transport_descriptor>
  </transport_descriptors>
  <participant profile_name="wm_ros" is_default_profile="true">
    <rtps>
      <userTransports>
        <transport_id>shared_memory</transport_id>
        <transport_id>udp</transport_id>
      </userTransports>
      <useBuiltinTransports>false</useBuiltinTransports>
    </rtps>
  </participant>
</profiles>
"""


def fixed() -> dict[str, str]:
    """Variables that must be as they are for the wheels to work; the second spares the wheels' re-execution of Python."""
    return {
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
    }


def prepended() -> dict[str, list[Path]]:
    """Search paths: ours come first, what the user has follows."""
    return {
        "AMENT_PREFIX_PATH": [HERE.root],
        "LD_LIBRARY_PATH": [HERE.libraries, *sorted(HERE.site_packages.glob("ros_*.libs"))],
        "PATH": [HERE.root / "bin"],
    }


def preferred() -> dict[str, str]:
    """Variables that the user's own value overrides: how far discovery goes (this machine), the DDS profile, logs, the console format."""
    return {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(profile_path()),
        "ROS_LOG_DIR": str(HERE.root / "log"),
        "RCUTILS_CONSOLE_OUTPUT_FORMAT": "[{severity}] [{name}]: {message}",
    }


def profile_path() -> Path:
    """Where the DDS profile is written."""
    return HERE.share("embedded_ros") / "fastdds_profile.xml"


def write() -> Path:
    """Write the DDS profile and the shell file; returns the latter."""
    profile_path().parent.mkdir(parents=True, exist_ok=True)
    profile_path().write_text(PROFILE, encoding="utf-8")
    lines = [f"export {name}={shlex.quote(value)}" for name, value in fixed().items()]
    lines += [f'[ -n "${{{name}:-}}" ] || export {name}={shlex.quote(value)}' for name, value in preferred().items()]
    for name, folders in prepended().items():
        lines.append(f"ours={shlex.quote(':'.join(map(str, folders)))}")
        lines.append(f'case ":${{{name}:-}}:" in ":$ours:"*) ;; *) export {name}="$ours${{{name}:+:${name}}}" ;; esac')
    lines.append("unset ours")
    target = HERE.root / "ros_environment.sh"
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target
