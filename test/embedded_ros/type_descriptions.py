"""Type hashes (RIHS01, REP 2011 and 2016) from .msg and .srv text alone: an oracle that shares no code with rosidl."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BASIC = {
    "int8": 2,
    "uint8": 3,
    "int16": 4,
    "uint16": 5,
    "int32": 6,
    "uint32": 7,
    "int64": 8,
    "uint64": 9,
    "float32": 10,
    "float64": 11,
    "char": 3,  # of a .msg: an unsigned byte since ROS 2 has IDL
    "bool": 15,
    "byte": 16,
    "string": 17,
    "wstring": 18,
}
BOUNDED_STRING = {"string": 21, "wstring": 22}
NESTED, ARRAY, BOUNDED, UNBOUNDED = 1, 48, 96, 144
FIELD = re.compile(r"(?P<base>[\w/]+)(<=(?P<text>\d+))?(?P<brackets>\[(?P<bound><=)?(?P<size>\d*)\])?\s+(?P<name>\w+)\b(?!\s*=)")

Finder = Callable[[str], Path]  # of a package: the directory that holds its msg/ and srv/


@dataclass(frozen=True)
class Field:
    """One member of a type; `nested` is its full type name where it is a message, `capacity` counts elements, `text` characters."""

    name: str
    kind: int
    capacity: int = 0
    text: int = 0
    nested: str = ""

    def described(self) -> dict[str, object]:
        """As the canonical JSON of a type description names it."""
        words = {"type_id": self.kind, "capacity": self.capacity, "string_capacity": self.text, "nested_type_name": self.nested}
        return {"name": self.name, "type": words}


def type_hash(name: str, find: Finder) -> str:
    """RIHS01 hash of "package/msg/Name" or "package/srv/Name"."""
    known = {name: _members(name, find)}
    waiting = [name]
    while waiting:
        for nested in {field.nested for field in known[waiting.pop()] if field.nested} - set(known):
            known[nested] = _members(nested, find)
            waiting.append(nested)
    described = {key: {"type_name": key, "fields": [field.described() for field in fields]} for key, fields in known.items()}
    main = described.pop(name)
    canonical = {"type_description": main, "referenced_type_descriptions": [described[key] for key in sorted(described)]}
    return "RIHS01_" + hashlib.sha256(json.dumps(canonical).encode()).hexdigest()


def _members(name: str, find: Finder) -> list[Field]:
    package, kind, short = name.split("/")
    if kind == "msg":
        return _parse((find(package) / "msg" / f"{short}.msg").read_text(encoding="utf-8"), package)
    path = find(package) / "srv" / f"{short}.srv"
    if path.is_file():
        return [Field(f"{part.lower()}_message", NESTED, nested=f"{name}_{part}") for part in ("Request", "Response", "Event")]
    service, _, part = name.rpartition("_")
    if part == "Event":
        info = Field("info", NESTED, nested="service_msgs/msg/ServiceEventInfo")
        return [info, *(Field(word.lower(), NESTED + BOUNDED, 1, nested=f"{service}_{word}") for word in ("Request", "Response"))]
    text = (find(package) / "srv" / f"{service.split('/')[2]}.srv").read_text(encoding="utf-8")
    return _parse(re.split(r"^---.*$", text, flags=re.MULTILINE)[part == "Response"], package)


def _parse(text: str, package: str) -> list[Field]:
    matches = (FIELD.match(line.strip()) for line in text.splitlines() if not line.strip().startswith("#"))
    found = [_field(match, package) for match in matches if match]
    return found or [Field("structure_needs_at_least_one_member", BASIC["uint8"])]


def _field(match: re.Match[str], package: str) -> Field:
    base, text = match["base"], int(match["text"] or 0)
    nested = "" if base in BASIC else _full_name(base, package)
    kind = NESTED if nested else BOUNDED_STRING[base] if text else BASIC[base]
    if match["brackets"]:
        kind += BOUNDED if match["bound"] else ARRAY if match["size"] else UNBOUNDED
    return Field(match["name"], kind, int(match["size"] or 0), text, nested)


def _full_name(base: str, package: str) -> str:
    if base == "Header":
        return "std_msgs/msg/Header"
    owner, _, short = base.rpartition("/")
    return f"{owner.removesuffix('/msg') or package}/msg/{short}"
