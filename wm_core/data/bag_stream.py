"""An MCAP file read from its beginning, so that one whose end is missing gives what is whole."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard
from mcap.exceptions import McapError
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import CRCValidationError, StreamReader

from wm_core.data.errors import BagError

# What a break in the middle of a record makes of its bytes.
BREAKS = (McapError, CRCValidationError, struct.error, zstandard.ZstdError, ValueError, EOFError, RuntimeError)


@dataclass(frozen=True)
class TopicChannel:
    """What is known of a topic: its name, the type of its messages and their definition, "" where the file has none."""

    topic: str
    type: str
    definition: str


class McapStream:
    """One file; `broken` tells after `messages` where and why reading ended early, None where it did not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken: str | None = None
        with path.open("rb") as file:
            if not file.read(8):
                raise BagError("the bag is empty", got=f"{path}: no bytes", allowed="an MCAP file")

    def channels(self) -> list[TopicChannel]:
        """Those before the break."""
        found: dict[int, TopicChannel] = {}
        for channel_id, channel, _ in self._walk():
            found[channel_id] = channel
        if self.broken is not None and not found:
            raise BagError("the bag holds nothing that can be read", got=self.broken, allowed="an MCAP file with at least one message")
        return list(found.values())

    def messages(self) -> Iterator[tuple[TopicChannel, int, bytes]]:
        """Channel, time of receipt (ns) and CDR bytes of each whole message."""
        for _, channel, message in self._walk():
            if message is not None:
                yield channel, message.log_time, message.data

    def _walk(self) -> Iterator[tuple[int, TopicChannel, Message | None]]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, TopicChannel] = {}
        count = 0
        self.broken = None
        with self.path.open("rb") as file:
            try:
                for record in StreamReader(file, validate_crcs=True).records:
                    if isinstance(record, Schema):
                        schemas[record.id] = record
                    elif isinstance(record, Channel):
                        channels[record.id] = _channel(record, schemas)
                        yield record.id, channels[record.id], None
                    elif isinstance(record, Message):
                        count += 1
                        yield record.channel_id, channels[record.channel_id], record
            except BREAKS as error:
                self.broken = f"{self.path} ends in the middle, after {count} messages: {type(error).__name__}"


def _channel(record: Channel, schemas: dict[int, Schema]) -> TopicChannel:
    schema = schemas.get(record.schema_id)
    if schema is None:
        return TopicChannel(record.topic, "", "")
    definition = schema.data.decode("utf-8", errors="replace") if schema.encoding == "ros2msg" else ""
    return TopicChannel(record.topic, schema.name, definition)
