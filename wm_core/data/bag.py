"""Bags of ROS 2 (sqlite3 or MCAP, a folder or a bare file), read and written without ROS; of a broken one, what is whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import Reader, ReaderError, StoragePlugin, Writer
from rosbags.serde import SerdeError
from rosbags.typesys import TypesysError
from rosbags.typesys.store import Typestore

from wm_core.data.bag_stream import McapStream
from wm_core.data.bag_types import known_types, types_of
from wm_core.data.errors import BagError
from wm_core.errors import nearest

NANOSECONDS = 1_000_000_000
# What the package raises on a file that is not what it says.
UNREADABLE = (ReaderError, OSError, sqlite3.DatabaseError, ValueError, IndexError, TypeError)


@dataclass(frozen=True)
class Message:
    """One message of a bag: when it was received, s, its CDR bytes, and what they say."""

    topic: str
    type: str
    received: float
    data: bytes
    types: Typestore

    @cached_property
    def content(self) -> Any:
        """The message with the fields of its definition; arrays of numbers are numpy arrays."""
        try:
            return self.types.deserialize_cdr(self.data, self.type)
        except (SerdeError, TypesysError, KeyError, ValueError, IndexError, AssertionError, UnicodeDecodeError) as error:
            raise BagError(f"a message on {self.topic} is not a {self.type}", got=f"{type(error).__name__}: {error}") from error

    @cached_property
    def stamp(self) -> float | None:
        """The stamp of its header, s; None without a header, or where nobody set it."""
        header = getattr(self.content, "header", None)
        if header is None:
            return None
        return (header.stamp.sec + header.stamp.nanosec / NANOSECONDS) or None


class Bag:
    """A bag that is open for reading. What cannot be read of it is told in `broken` once the messages before have been given out."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.broken: str | None = None
        if not self.path.exists():
            raise BagError("no such bag", got=self.path, allowed="a folder that ros2 bag wrote, an .mcap or a .db3 file")
        self._parts = _parts(self.path)
        if not self.topics:
            raise BagError("the bag is empty", got=self.path, allowed="at least one topic")

    @cached_property
    def topics(self) -> Mapping[str, str]:
        """The type of the messages by topic."""
        return {topic: kind for part in self._parts for topic, kind in part.topics.items()}

    def require(self, topics: Collection[str], mend: str = "correct the topics") -> None:
        """Raise a BagError that names the topics that the bag does not have, with the nearest that it has."""
        missing = sorted(set(topics) - set(self.topics))
        if missing:
            allowed = "; ".join(f"{topic}: {nearest(topic, self.topics)}" for topic in missing)
            raise BagError(f"the bag {self.path} lacks topics", got=", ".join(missing), allowed=allowed, mend=mend)

    def messages(self, topics: Collection[str] | None = None) -> Iterator[Message]:
        """The messages of all or of these topics in the order in which they were received, file by file."""
        for part in self._parts:
            yield from part.messages(topics)
            self.broken = self.broken or part.broken


class _Indexed:
    """A bag or file that is whole, through its index."""

    broken: str | None = None

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)
        self._reader.open()
        self._types = {connection.id: _types(connection) for connection in self._reader.connections}
        self.topics = {connection.topic: connection.msgtype for connection in self._reader.connections}

    def messages(self, topics: Collection[str] | None) -> Iterator[Message]:
        wanted = [connection for connection in self._reader.connections if topics is None or connection.topic in topics]
        if not wanted:
            return
        try:
            for connection, received, data in self._reader.messages(wanted):
                yield Message(connection.topic, connection.msgtype, received / NANOSECONDS, bytes(data), self._types[connection.id])
        except (ReaderError, sqlite3.DatabaseError, ValueError, EOFError) as error:
            self.broken = f"{self._reader.path} cannot be read further: {error}"


class _Stream:
    """An MCAP file without its end, from its beginning to the break."""

    def __init__(self, path: Path) -> None:
        self._stream = McapStream(path)
        self.topics = {channel.topic: channel.type for channel in self._stream.channels()}
        self.broken: str | None = None

    def messages(self, topics: Collection[str] | None) -> Iterator[Message]:
        types: dict[tuple[str, str], Typestore] = {}
        for channel, received, data in self._stream.messages():
            if topics is None or channel.topic in topics:
                key = (channel.definition, channel.type)
                if key not in types:
                    types[key] = types_of(*key)
                yield Message(channel.topic, channel.type, received / NANOSECONDS, data, types[key])
        self.broken = self._stream.broken


def _parts(path: Path) -> list[_Indexed | _Stream]:
    """One reader for a whole bag; for one without its metadata or its end, one for each file."""
    if not path.is_dir():
        return [_part(path)]
    if (path / "metadata.yaml").is_file():
        try:
            return [_Indexed(path)]
        except UNREADABLE as error:
            wrong = str(error)
    else:
        wrong = "no metadata.yaml"
    files = sorted([*path.glob("*.mcap"), *path.glob("*.db3")])
    if not files:
        raise BagError("the folder is not a bag", got=f"{path}: {wrong}", allowed="metadata.yaml with *.mcap or *.db3")
    return [_part(file) for file in files]


def _part(file: Path) -> _Indexed | _Stream:
    try:
        return _Indexed(file)
    except UNREADABLE as error:
        if file.suffix != ".mcap":
            raise BagError("the bag cannot be read", got=f"{file}: {error}", allowed="sqlite3 or MCAP of ROS 2") from error
        return _Stream(file)


def _types(connection: Connection) -> Typestore:
    """Those the bag brings along, where it does: they are what the messages were written with."""
    with_definition = connection.msgdef.format == MessageDefinitionFormat.MSG
    return types_of(connection.msgdef.data if with_definition else "", connection.msgtype)


class BagWriter:
    """Writes a rosbag2 folder with one MCAP file; use it with `with`."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise BagError("there is something at the place of the new bag", got=path, mend="remove it, or give another place")
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        self._writer.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()

    def write(self, topic: str, message: Any, received: float) -> None:
        """Append a message made with `known_types`, received at this time, s."""
        kind = cast(str, message.__msgtype__)
        self.write_bytes(topic, kind, bytes(known_types().serialize_cdr(message, kind)), received)

    def write_bytes(self, topic: str, kind: str, data: bytes, received: float, types: Typestore | None = None) -> None:
        """Append a message that is CDR already."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=types or known_types())
        self._writer.write(self._connections[topic], round(received * NANOSECONDS), data)
