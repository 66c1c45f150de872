"""Brings up an arm with its safety guard and its controller: `ros2 launch wm_ros mpc_arm.launch.py`."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch_ros.actions import Node

SHIPPED = Path(get_package_share_directory("wm_ros")) / "config"
ARGUMENTS = {
    "sim": ("true", "true: the embedded simulated arm; false: your own arm is already running", ["true", "false"]),
    "namespace": ("", "namespace of all nodes and topics", None),
    "robot": ("ur5e", "robot: a name from the config directories, or the path of a robot file", None),
    "model": (
        "",
        "world model: a folder with encoder/ and world_model/ (and decoder/), or none for no controller; "
        "empty: as encoder.yaml and mpc_controller.yaml say, which ship with the embedded one",
        None,
    ),
    "config": ("", "directory with your own YAML files; each replaces the shipped one of the same name", None),
    "lock_step": ("false", "true: simulated time moves on only as the guard commands (needs sim:=true)", ["true", "false"]),
    "discovery": ("", "how far ROS discovery goes; empty: as the environment says", ["", "OFF", "LOCALHOST", "SUBNET", "SYSTEM_DEFAULT"]),
    "log_level": ("info", "least severe messages shown", ["debug", "info", "warn", "error"]),
}

CAMERA = tuple((topic, f"camera/front/{topic}") for topic in ("image_raw", "image_raw/compressed"))


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then bring up the nodes."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, (default, text, choices) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=bring_up)])


def bring_up(context: LaunchContext) -> list[SetEnvironmentVariable | Node]:
    """The nodes that the arguments ask for."""
    value = {name: context.launch_configurations[name] for name in ARGUMENTS}
    own = Path(value["config"]) if value["config"] else None
    if own is not None:
        check_directory(own, value["robot"])
    sim, lock_step = value["sim"] == "true", value["lock_step"] == "true"
    if lock_step and not sim:
        raise RuntimeError("lock_step:=true needs sim:=true: a real arm does not wait")
    robot = {"robot_file": str(robot_file(value["robot"], own)), "use_sim_time": lock_step}

    def node(executable: str, name: str = "", remappings: tuple[tuple[str, str], ...] = (), **parameters: object) -> Node:
        return Node(
            package="wm_ros",
            executable=executable,
            name=name or executable,
            namespace=value["namespace"],
            output="screen",
            arguments=["--ros-args", "--log-level", value["log_level"]],
            parameters=[{"config_file": str(config_file(f"{executable}.yaml", own)), **parameters}],
            remappings=remappings,
            # The DDS profile and the wheels' library path travel with the environment; nothing here depends on them.
        )

    reach = [SetEnvironmentVariable("ROS_AUTOMATIC_DISCOVERY_RANGE", value["discovery"])] if value["discovery"] else []
    nodes = [node("sim_arm", **({"mode": "lock_step"} if lock_step else {}))] if sim else []
    nodes += [node("safety_guard", **robot), node("reach_pose", **robot)]
    if value["model"] != "none":
        encoder, model = model_parameters(value["model"])
        nodes.append(node("encoder", remappings=CAMERA, use_sim_time=lock_step, **encoder))
        nodes += [node("world_model", server, **robot, **model) for server in servers(own)]
        nodes.append(node("mpc_controller", remappings=CAMERA, **robot, **encoder, **model, **controller_files(own)))
    return [*reach, *nodes]


def model_parameters(folder: str) -> tuple[dict[str, str], dict[str, str]]:
    """Of the encoder, and of the world model in a folder that holds both; nothing where the YAML files are to say."""
    if not folder:
        return {}, {}
    parts = {name: Path(folder).resolve() / name for name in ("encoder", "world_model", "decoder")}
    for name in ("encoder", "world_model"):
        if not parts[name].is_dir():
            raise RuntimeError(f"model:={folder}: there is no {parts[name]}; give a folder with encoder/ and world_model/, or none")
    decoder = {"decoder": str(parts["decoder"])} if parts["decoder"].is_dir() else {}
    return {"encoder": str(parts["encoder"])}, {"world_model": str(parts["world_model"]), **decoder}


def servers(own: Path | None) -> list[str]:
    """The world_model nodes that mpc_controller.yaml names; where it names none, the controller imagines by itself."""
    return list(controller_settings(own).get("servers", []))


def controller_files(own: Path | None) -> dict[str, str]:
    """The files that mpc_controller.yaml names, each the user's own where there is one."""
    named = {name: controller_settings(own).get(name) for name in ("planner", "guard")}
    return {name: str(config_file(file, own)) for name, file in named.items() if file}


def controller_settings(own: Path | None) -> dict[str, Any]:
    """What mpc_controller.yaml says; what is wrong with it the controller tells."""
    found = yaml.safe_load(config_file("mpc_controller.yaml", own).read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def check_directory(own: Path, robot: str) -> None:
    """Refuse a directory that is none, or that holds a YAML file which would replace nothing."""
    if not own.is_dir():
        raise RuntimeError(f"config:={own} is not a directory; give one that holds YAML files, e.g. a copy of {SHIPPED}")
    known = {path.name for path in SHIPPED.glob("*.yaml")} | {f"{robot}.yaml"}
    for path in sorted(own.glob("*.yaml")):
        if path.name not in known:
            nearest = get_close_matches(path.name, known, n=1, cutoff=0.0)[0]
            raise RuntimeError(f"{path} replaces no shipped file; nearest: {nearest}; rename or remove it")


def config_file(name: str, own: Path | None) -> Path:
    """The user's file of that name where there is one, else the shipped one."""
    return own / name if own is not None and (own / name).is_file() else SHIPPED / name


def robot_file(robot: str, own: Path | None) -> Path:
    """The robot file of a name or path."""
    found = Path(robot).resolve() if robot.endswith(".yaml") else config_file(f"{robot}.yaml", own)
    if not found.is_file():
        raise RuntimeError(f"robot:={robot}: there is no {found}; give the path of a robot file such as {SHIPPED / 'ur5e.yaml'}")
    return found
