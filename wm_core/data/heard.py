"""One message of a recording: what was said, on which topic, when."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rosbags.typesys.store import Typestore

from wm_core.data import message_types
from wm_core.data.image_head import IMAGE, image_head


@dataclass(frozen=True)
class Heard:
    """One message as it was recorded: `received` (s), and its bytes; `types` are those its bag says it was written with."""

    topic: str
    kind: str
    received: float
    data: bytes
    types: Typestore | None = field(default=None, compare=False, repr=False)

    @cached_property
    def message(self) -> Any:
        """What the bytes say."""
        return message_types.decoded(self.data, self.kind, self.types)

    @property
    def stamp(self) -> float:
        """When it was true (s): its header's stamp, or when it was received where there is none."""
        if self.kind == IMAGE:
            return image_head(self.data).stamp or self.received
        header = getattr(self.message, "header", None)
        stamp = 0.0 if header is None else message_types.seconds(header.stamp)
        return stamp or self.received
