"""The one base class of all nodes: lifecycle, configuration, diagnostics, and the errors of transitions made visible."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from wm_core.configuration import flatten, read, replace_flat
from wm_core.errors import ConfigurationError, WmError
from wm_ros import parameters

DIAGNOSTICS_PERIOD = 1.0


class WmNode[Config](LifecycleNode):
    """A lifecycle node that is configured by one YAML file and says on /diagnostics how it is.

    A node overrides `configure`, `activate`, `deactivate` and `cleanup`, which may raise; `diagnose`; and `reconfigure` for live
    settings. rclpy swallows what a transition raises: here it is logged and becomes the node's diagnosis until it is mended.
    """

    def __init__(self, name: str, config_class: type[Config], config_file: str) -> None:
        super().__init__(name)
        shipped = Path(get_package_share_directory("wm_ros")) / "config" / config_file
        self.fault = ""
        self.active = False
        self.finalized = False
        self._configured = False
        self._inputs: set[Timer | Subscription | Service] = set()
        fixed = ParameterDescriptor(description="YAML file with every setting of this node", read_only=True)
        self.declare_parameter("config_file", str(shipped), fixed)
        self.declare_parameter("autostart", True, ParameterDescriptor(description="configure and activate at start", read_only=True))
        self._source = str(self.get_parameter("config_file").value)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._diagnostics_timer = self.create_timer(DIAGNOSTICS_PERIOD, self._publish_diagnostics, clock=self._steady)
        self.config: Config | None = None
        self._fail_softly("reading the configuration", lambda: self._load(config_class))

    def own_parameters(self) -> tuple[str, ...]:
        """Names of parameters that the node declares beside its configuration."""
        return ("config_file", "autostart")

    def configure(self, config: Config) -> None:
        """Make publishers, subscriptions and the core objects."""

    def activate(self) -> None:
        """Start working. Subscriptions, services and timers that are made here end before `deactivate`, also when a later line raises."""

    def deactivate(self) -> None:
        """Stop working; nothing moves afterwards. Nothing calls the node any more, and an activation may have stopped half-way."""

    def cleanup(self) -> None:
        """Undo `configure`."""

    def reconfigure(self, config: Config) -> None:
        """Take over live settings that have changed; raise to refuse them."""

    def diagnose(self) -> list[DiagnosticStatus]:
        """How the node's own parts are."""
        return []

    def autostart(self) -> None:
        """Configure and activate, unless the parameter says that a lifecycle manager does it."""
        if (
            self.get_parameter("autostart").value
            and self.trigger_configure() == TransitionCallbackReturn.SUCCESS
            and self.trigger_activate() != TransitionCallbackReturn.SUCCESS
        ):
            self.get_logger().error("not active; mend the fault and call ~/change_state, or start the node again")

    def duplicate(self) -> str:
        """A sentence when another node of this name is on the domain, as when two launches share it; else empty."""
        count = self.get_node_names_and_namespaces().count((self.get_name(), self.get_namespace()))
        if count < 2:
            return ""
        domain = os.environ.get("ROS_DOMAIN_ID", "0")
        return f"{count} nodes are named {self.get_fully_qualified_name()} on domain {domain}: stop one, or set another ROS_DOMAIN_ID"

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._configured = self.config is not None and self._fail_softly("configuring", lambda: self.configure(self._known()))
        if self.config is None:
            self.get_logger().error(f"not configured: {self.fault}")
        return TransitionCallbackReturn.SUCCESS if self._configured else TransitionCallbackReturn.FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        before = self._callers()
        self.active = self._fail_softly("activating", self.activate)
        self._inputs = self._callers() - before
        if not self.active:  # what was made before the fault would be made again by the next activation
            fault = self.fault
            self._fail_softly("undoing the activation", self._end_work)
            self.fault = fault
            return TransitionCallbackReturn.FAILURE
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.active = False
        done = self._fail_softly("deactivating", self._end_work)
        return super().on_deactivate(state) if done else TransitionCallbackReturn.ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._configured = False
        return self._outcome(self._fail_softly("cleaning up", self.cleanup))

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self.active:
            self.active = False
            self._fail_softly("deactivating", self._end_work)
        done = not self._configured or self._fail_softly("cleaning up", self.cleanup)
        self._configured = False
        self.finalized = True
        return self._outcome(done)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.get_logger().error(f"a transition from '{state.label}' failed: {self.fault}")
        if self._configured:  # nothing may be left that a second configure would make again
            fault, self._configured = self.fault, False
            self._fail_softly("cleaning up", self.cleanup)
            self.fault = fault
        return TransitionCallbackReturn.SUCCESS

    def _callers(self) -> set[Timer | Subscription | Service]:
        return {*self.timers, *self.subscriptions, *self.services}

    def _end_work(self) -> None:
        for one in self._inputs & self._callers():
            if isinstance(one, Timer):
                self.destroy_timer(one)
            elif isinstance(one, Subscription):
                self.destroy_subscription(one)
            else:
                self.destroy_service(one)
        self._inputs = set()
        self.deactivate()

    def _outcome(self, done: bool) -> TransitionCallbackReturn:
        return TransitionCallbackReturn.SUCCESS if done else TransitionCallbackReturn.ERROR

    def _known(self) -> Config:
        if self.config is None:
            raise ConfigurationError("the configuration was not read", mend=f"correct {self._source} and start the node again")
        return self.config

    def _load(self, config_class: type[Config]) -> None:
        config = read(config_class, self._source)
        overrides = parameters.declare(self, config, self.own_parameters())
        self.config = replace_flat(config, overrides, f"the parameters of {self.get_name()}")
        self._announce(self.config)
        self.add_on_set_parameters_callback(self._on_parameters)

    def _announce(self, config: Config) -> None:
        """Let `ros2 param get` show the values in force."""
        for name, (value, _) in flatten(config).items():
            self.set_parameters([Parameter(name, value=list(value) if isinstance(value, tuple) else value)])

    def _on_parameters(self, changed: list[Parameter]) -> SetParametersResult:
        known = flatten(self._known())
        changes = {parameter.name: parameters.plain(parameter.value) for parameter in changed if parameter.name in known}
        if not changes:
            return SetParametersResult(successful=True)
        try:
            fixed = [name for name in changes if self._configured and not known[name][1].live]
            if fixed:
                live = ", ".join(name for name, (_, setting) in known.items() if setting.live) or "none"
                raise ConfigurationError(
                    f"'{fixed[0]}' cannot change while the node is configured",
                    allowed=f"live settings: {live}",
                    mend="clean up the node first",
                )
            config = replace_flat(self._known(), changes, f"the parameters of {self.get_name()}")
            if self._configured:
                self.reconfigure(config)
        except WmError as error:
            self.get_logger().warning(f"parameters refused: {error}")
            return SetParametersResult(successful=False, reason=str(error))
        self.config = config
        return SetParametersResult(successful=True)

    def _fail_softly(self, doing: str, action: Any) -> bool:
        """Run `action`; an error is logged, kept as the node's fault, and turned into False: the process goes on."""
        try:
            action()
        except WmError as error:
            self.fault = f"{doing}: {error}"
        except Exception as error:  # noqa: BLE001 rclpy would swallow it; this is the edge where every error becomes a message
            import traceback

            self.fault = f"{doing}: {type(error).__name__}: {error}\n{traceback.format_exc()}"
        else:
            self.fault = ""
            return True
        self.get_logger().error(self.fault)
        return False

    def _publish_diagnostics(self) -> None:
        fault = self.fault or self.duplicate()
        level = DiagnosticStatus.ERROR if fault else DiagnosticStatus.OK
        text = fault or ("active" if self.active else "inactive")
        own = DiagnosticStatus(level=level, name=f"{self.get_fully_qualified_name()}: lifecycle", message=text, hardware_id="wm_ros")
        message = DiagnosticArray(status=[own, *(self.diagnose() if self._configured else [])])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def status(node: LifecycleNode, part: str, level: bytes, message: str, **values: object) -> DiagnosticStatus:
    """One diagnostic status of a part of a node."""
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(
        level=level, name=f"{node.get_fully_qualified_name()}: {part}", message=message, hardware_id="wm_ros", values=pairs
    )
