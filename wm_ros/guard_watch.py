"""Whether the safety guard lets the arm be commanded."""

from __future__ import annotations

from typing import Any

from wm_ros.lifecycle import WmNode
from wm_ros.msg import SafetyStatus

OLDEST_STATUS = 0.5  # s; a guard that says nothing for longer is not there


class GuardWatch:
    """Hears safety_guard/status; made in `activate`, whose end ends it."""

    def __init__(self, node: WmNode[Any]) -> None:
        self._node, self._heard, self._newest = node, -1e18, SafetyStatus()
        node.create_subscription(SafetyStatus, "safety_guard/status", self._on_status, 10)

    def fault(self, now: float) -> str:
        """Why the arm cannot be commanded; empty when it can."""
        if now - self._heard > OLDEST_STATUS:
            return f"no word from the safety guard within the last {OLDEST_STATUS} s: is it running?"
        return "" if self._newest.state == SafetyStatus.ARMED else f"the safety guard is not ARMED: {self._newest.text}"

    def _on_status(self, message: SafetyStatus) -> None:
        self._newest, self._heard = message, self._node.get_clock().now().nanoseconds * 1e-9
