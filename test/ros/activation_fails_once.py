"""A node whose first activation raises half-way; run as a process by test_lifecycle."""

from __future__ import annotations

from dataclasses import dataclass

from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from wm_core.errors import WmError
from wm_ros import process
from wm_ros.lifecycle import WmNode


@dataclass(frozen=True)
class Nothing:
    """No settings."""


class FailsOnce(WmNode[Nothing]):
    """Raises after its subscription, service and timer have been made."""

    def __init__(self) -> None:
        self._tries = 0
        super().__init__("fails_once", Nothing, "nothing.yaml")

    def activate(self) -> None:
        self._tries += 1
        self.create_subscription(Empty, "~/in", lambda message: None, 10)
        self.create_service(Trigger, "~/ask", lambda request, response: response)
        self.create_timer(1.0, lambda: None)
        if self._tries == 1:
            raise WmError("the first activation fails", mend="activate again")


if __name__ == "__main__":
    process.run(FailsOnce)
