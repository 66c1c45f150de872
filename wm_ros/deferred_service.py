"""A service whose answers may come later, from any thread, while the executor goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.service import Service

Reply = Callable[[Any], None]


def offer(node: Node, kind: type, name: str, handle: Callable[[Any, Reply], None]) -> Service:
    """Offer a service; `handle` gets each request and the function that answers it, once.

    rclpy calls `callback` and then `send_response` with what it returned: the callback returns the request itself here, and only what
    `handle` replies is sent. An answer after the service has ended is dropped.
    """
    service = node.create_service(kind, name, lambda request, _: request)
    send = service.send_response

    def begin(request: Any, header: Any) -> None:
        handle(request, lambda response: send(response, header))

    service.send_response = begin  # type: ignore[method-assign, assignment]
    return service
