"""Reading bags without ROS: a rosbag2 directory (SQLite or MCAP) or a single file of either, up to where it breaks off."""

from __future__ import annotations

import re
import sqlite3
import struct
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO

import zstandard
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import CRCValidationError, StreamReader, breakup_chunk
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.typesys.store import Typestore

from wm_core.data import message_types
from wm_core.data.errors import DatasetError
from wm_core.data.heard import Heard
from wm_core.errors import nearest

NANO = 1e-9
# What a file that was cut short or damaged makes a reader raise; RuntimeError is what the lz4 package raises.
OF_FILES = (OSError, EOFError, struct.error, ValueError, RuntimeError, KeyError, IndexError, TypeError)
UNPACKERS = 2  # threads that unpack chunks and compare their checksums
BROKEN = (McapError, CRCValidationError, zstandard.ZstdError, ReaderError, sqlite3.Error, *OF_FILES)


@dataclass
class Bag:
    """A recording on disk. `broken` says where reading ended early, once all has been read; empty: it is whole."""

    path: Path
    broken: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise DatasetError(
                "there is no such bag", got=self.path, allowed="a rosbag2 directory, or an .mcap or .db3 file", mend="correct the path"
            )
        if not self._files():
            allowed = "metadata.yaml with .db3 files, or .mcap files"
            raise DatasetError("this is no bag", got=self.path, allowed=allowed, mend="give the directory that `ros2 bag record` made")

    @cached_property
    def topics(self) -> dict[str, str]:
        """The topics that have messages, each with its type."""
        found: dict[str, str] = {}
        for file in self._files():
            told = _summary(file) if file.suffix == ".mcap" else None
            for topic, kind in (told or {heard.topic: heard.kind for heard in self._of(file, None)}).items():
                found.setdefault(topic, kind)
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

    @property
    def description(self) -> str:
        """The URDF on its topic robot_description; empty: there is none."""
        topics = [topic for topic in self.topics if topic.endswith("/robot_description")]
        return str(next((heard.message.data for heard in self.messages(topics)), "")) if topics else ""

    def messages(self, topics: Collection[str] | None = None, trusted: bool = False) -> Iterator[Heard]:
        """The messages of all or of these topics as they were recorded; what cannot be read any more ends them, as `broken` says.

        With `trusted` the checksums, which were compared in a reading before, are not compared again.
        """
        self.broken = ""
        for file in self._files():
            yield from self._of(file, topics, trusted)

    def _files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path] if self.path.suffix in (".mcap", ".db3") else []
        return sorted([*self.path.glob("*.mcap")] or [*self.path.glob("*.db3")], key=_number)

    def _of(self, file: Path, topics: Collection[str] | None, trusted: bool = False) -> Iterator[Heard]:
        """The messages of one file. The files of a bag are read one by one, so that a bag without its metadata is read too."""
        try:
            yield from _of_mcap(file, topics, trusted) if file.suffix == ".mcap" else _of_sqlite(file, topics)
        except BROKEN as error:
            self.broken = f"{file.name} breaks off: {type(error).__name__} {error}".strip()


def _number(file: Path) -> tuple[list[int], str]:
    """Split bags are numbered without leading zeros: the tenth comes after the second."""
    return [int(digits) for digits in re.findall(r"\d+", file.stem)[-1:]], file.name


def _summary(file: Path) -> dict[str, str] | None:
    """The topics with messages, as the end of a file tells them; None where that end is missing."""
    with file.open("rb") as stream:
        try:
            summary = make_reader(stream).get_summary()
        except BROKEN:
            return None
    if summary is None or summary.statistics is None or not summary.statistics.channel_message_counts:
        return None
    counts = summary.statistics.channel_message_counts
    used = [channel for channel in summary.channels.values() if counts.get(channel.id) and channel.schema_id in summary.schemas]
    return {channel.topic: summary.schemas[channel.schema_id].name for channel in used}


def _of_mcap(file: Path, topics: Collection[str] | None, trusted: bool) -> Iterator[Heard]:
    schemas, channels = dict[int, Schema](), dict[int, tuple[str, str, Typestore | None]]()
    with file.open("rb") as stream:
        limit = file.stat().st_size
        for record in StreamReader(stream, record_size_limit=limit).records if trusted else _compared(stream, limit):
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel) and record.schema_id in schemas:
                schema = schemas[record.schema_id]
                text = schema.data.decode() if schema.encoding == "ros2msg" else ""
                channels[record.id] = (record.topic, schema.name, message_types.brought(schema.name, text))
            elif isinstance(record, Message) and record.channel_id in channels:
                topic, kind, types = channels[record.channel_id]
                if topics is None or topic in topics:
                    yield Heard(topic, kind, record.log_time * NANO, record.data, types)


def _compared(stream: IO[bytes], limit: int) -> Iterator[McapRecord]:
    """The records of a file, their checksums compared, with some chunks unpacked ahead.

    Only where this is all that goes on: beside the coding of pictures, which has all cores, unpacking ahead made a bag's conversion slower.
    """
    ahead: deque[Future[list[McapRecord]]] = deque()
    with ThreadPoolExecutor(UNPACKERS) as pool:
        for part in _parts(stream, limit, pool):
            ahead.append(part)
            if len(ahead) > UNPACKERS:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


def _parts(stream: IO[bytes], limit: int, pool: ThreadPoolExecutor) -> Iterator[Future[list[McapRecord]]]:
    """The records of each chunk, and each record outside of one; what broke the reading off is the last."""
    records = StreamReader(stream, emit_chunks=True, validate_crcs=True, record_size_limit=limit).records
    while True:
        part: Future[list[McapRecord]] = Future()
        try:
            record = next(records, None)
        except BROKEN as error:
            part.set_exception(error)
            yield part
            return
        if record is None:
            return
        if isinstance(record, Chunk):
            yield pool.submit(breakup_chunk, record, True)
        elif isinstance(record, Schema | Channel | Message):
            part.set_result([record])
            yield part


def _of_sqlite(file: Path, topics: Collection[str] | None) -> Iterator[Heard]:
    with Reader(file) as reader:
        wanted = [connection for connection in reader.connections if topics is None or connection.topic in topics]
        types = {
            connection.id: message_types.brought(connection.msgtype, connection.msgdef.data)
            if connection.msgdef.format == MessageDefinitionFormat.MSG
            else None
            for connection in wanted
        }
        for connection, stamp, data in reader.messages(wanted) if wanted else ():
            yield Heard(connection.topic, connection.msgtype, stamp * NANO, bytes(data), types[connection.id])
