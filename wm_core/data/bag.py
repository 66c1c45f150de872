"""Reading bags without ROS: a rosbag2 directory (SQLite or MCAP) or a single MCAP file, up to where it breaks off."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mcap.exceptions import McapError
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from rosbags.rosbag2 import Reader, ReaderError

from wm_core.data import message_types
from wm_core.data.errors import DatasetError
from wm_core.errors import nearest

NANO = 1e-9
BROKEN = (McapError, ValueError, struct.error, EOFError, OSError)  # what a file that was cut short makes a reader raise


@dataclass(frozen=True)
class Heard:
    """One message as it was recorded: `received` (s), and its bytes."""

    topic: str
    kind: str
    received: float
    data: bytes

    @cached_property
    def message(self) -> Any:
        """What the bytes say."""
        return message_types.decoded(self.data, self.kind)

    @property
    def stamp(self) -> float:
        """When it was true (s): its header's stamp, or when it was received where there is none."""
        header = getattr(self.message, "header", None)
        stamp = 0.0 if header is None else message_types.seconds(header.stamp)
        return stamp or self.received


@dataclass
class Bag:
    """A recording on disk. `broken` says where reading ended early, once all has been read; empty: it is whole."""

    path: Path
    broken: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise DatasetError(
                "there is no such bag", got=self.path, allowed="a rosbag2 directory, or an .mcap file", mend="correct the path"
            )
        if not self._files():
            allowed = "metadata.yaml with .db3 files, or .mcap files"
            raise DatasetError("this is no bag", got=self.path, allowed=allowed, mend="give the directory that `ros2 bag record` made")

    @cached_property
    def topics(self) -> dict[str, str]:
        """The topics that have messages, each with its type."""
        found: dict[str, str] = {}
        for heard in self.messages():
            found.setdefault(heard.topic, heard.kind)
        return found

    def require(self) -> None:
        """Refuse a bag in which nothing was recorded."""
        if not self.topics:
            why = f" ({self.broken})" if self.broken else ""
            raise DatasetError(f"the bag {self.path} is empty{why}", allowed="at least one message", mend="record again")

    def topic(self, name: str) -> str:
        """The bag's topic of this name, whatever namespace it was recorded in."""
        tail = name.strip("/")
        if f"/{tail}" in self.topics:
            return f"/{tail}"
        matching = [topic for topic in self.topics if topic.endswith(f"/{tail}")]
        if len(matching) == 1:
            return matching[0]
        if matching:
            mend = "give the full name"
            raise DatasetError(
                f"several topics of {self.path} end with '{tail}'", got=", ".join(sorted(matching)), allowed="one", mend=mend
            )
        raise DatasetError(
            f"{self.path} has no topic '{name}'", allowed=nearest(f"/{tail}", self.topics), mend="record it, or change the name"
        )

    def messages(self) -> Iterator[Heard]:
        """All messages in the order in which they were recorded; what cannot be read any more ends them, and is said in `broken`."""
        self.broken = ""
        for file in self._files():
            yield from self._of_mcap(file) if file.suffix == ".mcap" else self._of_sqlite()

    def _files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path] if self.path.suffix == ".mcap" else []
        files = sorted(self.path.glob("*.mcap"))
        return files or sorted(self.path.glob("*.db3"))[:1]

    def _of_mcap(self, file: Path) -> Iterator[Heard]:
        schemas, channels, known = dict[int, Schema](), dict[int, Channel](), set[int]()
        with file.open("rb") as stream:
            try:
                for record in StreamReader(stream, record_size_limit=None).records:
                    if isinstance(record, Schema):
                        schemas[record.id] = record
                    elif isinstance(record, Channel):
                        channels[record.id] = record
                    elif isinstance(record, Message) and record.channel_id in channels:
                        channel = channels[record.channel_id]
                        schema = schemas[channel.schema_id]
                        if schema.id not in known:
                            known.add(schema.id)
                            if schema.encoding == "ros2msg":
                                message_types.learn(schema.name, schema.data.decode())
                        yield Heard(channel.topic, schema.name, record.log_time * NANO, record.data)
            except BROKEN as error:
                self.broken = f"{file.name} breaks off: {type(error).__name__} {error}".strip()

    def _of_sqlite(self) -> Iterator[Heard]:
        try:
            with Reader(self.path) as reader:
                for connection in reader.connections:
                    if connection.msgdef.data:
                        message_types.learn(connection.msgtype, connection.msgdef.data)
                for connection, stamp, data in reader.messages():
                    yield Heard(connection.topic, connection.msgtype, stamp * NANO, bytes(data))
        except ReaderError as error:
            self.broken = f"cannot be read on: {error}"
