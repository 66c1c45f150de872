"""ROS parameters from a configuration class: names, ranges, units and sentences all come from the one dataclass."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from wm_core.configuration import Setting, flatten
from wm_core.errors import ConfigurationError, nearest

# Parameters that rclpy itself declares or reads; they are not ours to refuse.
OF_ROS = ("use_sim_time", "start_type_description_service", "qos_overrides")
UNBOUNDED = 1e18


def declare(node: Node, config: Any, own: tuple[str, ...]) -> dict[str, Any]:
    """Declare every scalar setting with the configuration's value as default; returns the values that the user overrides.

    An override that is neither a setting nor one of the node's `own` parameters is refused: ROS itself would silently ignore it.
    """
    settings = flatten(config)
    overrides = dict(node._parameter_overrides)  # rclpy has no public way to see overrides of undeclared names
    for name in overrides:
        if name not in settings and name not in own and name.split(".")[0] not in OF_ROS:
            raise ConfigurationError(
                f"unknown parameter '{name}' for node {node.get_name()}",
                allowed=nearest(name, [*settings, *own]),
                mend="correct the name in the launch file, the parameter file or the -p argument",
            )
    for name, (value, setting) in settings.items():
        # An override of the wrong type must reach our own check, whose message says more than rclpy's.
        default = list(value) if isinstance(value, tuple) else value
        node.declare_parameter(name, default, descriptor(setting, value), ignore_override=True)
    return {name: plain(parameter.value) for name, parameter in overrides.items() if name in settings}


def plain(value: Any) -> Any:
    """A parameter's value with arrays as lists."""
    return list(value) if hasattr(value, "__len__") and not isinstance(value, str) else value


def descriptor(setting: Setting, value: Any) -> ParameterDescriptor:
    """What `ros2 param describe` shows: sentence, unit, range; a setting that is not live is read-only while the node is configured."""
    unit = f" [{setting.unit}]" if setting.unit else ""
    result = ParameterDescriptor(description=f"{setting.doc}{unit}", additional_constraints=setting.range_text(), dynamic_typing=True)
    low, high = setting.low, setting.high
    if low is None and high is None:
        return result
    if isinstance(value, bool):
        return result
    if isinstance(value, int):
        bounds = int(-UNBOUNDED if low is None else low), int(UNBOUNDED if high is None else high)
        result.integer_range = [IntegerRange(from_value=bounds[0], to_value=bounds[1], step=0)]
    elif isinstance(value, float):
        limits = float(-UNBOUNDED if low is None else low), float(UNBOUNDED if high is None else high)
        result.floating_point_range = [FloatingPointRange(from_value=limits[0], to_value=limits[1], step=0.0)]
    return result
