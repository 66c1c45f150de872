"""Messages as plain values that compare exactly, and random content for any message type."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from hypothesis import strategies as st
from rosidl_parser import definition as idl

INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
LONGEST = 4  # elements of a sequence without a bound


def plain(value: Any) -> Any:
    """Dicts, lists, integers and text that are equal exactly if two messages are, also in NaN and the sign of zero; JSON holds them."""
    if hasattr(value, "get_fields_and_field_types"):
        return {name: plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if isinstance(value, np.ndarray | array):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, bytes):
        return list(value)
    return value


def messages(kind: type) -> st.SearchStrategy[Any]:
    """Messages of the generated class `kind` with any content that its definition allows."""
    fields = dict(zip(kind.get_fields_and_field_types(), kind.SLOT_TYPES, strict=True))
    return st.fixed_dictionaries({name: contents(slot) for name, slot in fields.items()}).map(lambda chosen: kind(**chosen))


def contents(slot: Any) -> st.SearchStrategy[Any]:
    """Values of a field of this IDL type."""
    if isinstance(slot, idl.NamespacedType):
        return messages(getattr(import_module(".".join(slot.namespaces)), slot.name))
    if isinstance(slot, idl.AbstractNestedType):
        return sequences(slot)
    if isinstance(slot, idl.AbstractGenericString):
        return texts(slot)
    return SINGLE[slot.typename]()


def sequences(slot: Any) -> st.SearchStrategy[Any]:
    """Lists of the allowed lengths."""
    fixed = isinstance(slot, idl.Array)
    most = slot.size if fixed else slot.maximum_size if isinstance(slot, idl.BoundedSequence) else LONGEST
    listed = st.lists(contents(slot.value_type), min_size=slot.size if fixed else 0, max_size=most)
    numeric = isinstance(slot.value_type, idl.BasicType) and slot.value_type.typename in {*INTEGERS, "float", "double"}
    # Fields of numbers in an array of fixed length are numpy arrays, as the generator makes them.
    return listed.map(lambda items: np.array(items, NUMPY[slot.value_type.typename])) if fixed and numeric else listed


def texts(slot: Any) -> st.SearchStrategy[str]:
    """Text without NUL, which ends a C string, and without half characters; a bound counts bytes, of wide text 16-bit units."""
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
    bound = getattr(slot, "maximum_size", None)
    wide = isinstance(slot, idl.AbstractWString)
    return text.filter(lambda t: len(t.encode("utf-16-le")) // 2 <= bound if wide else len(t.encode()) <= bound) if bound else text


def _integers(name: str) -> Callable[[], st.SearchStrategy[int]]:
    info = np.iinfo(name)
    ends = st.sampled_from([int(info.min), int(info.max), 0])
    return lambda: ends | st.integers(int(info.min), int(info.max))


NUMPY = {**{name: name for name in INTEGERS}, "float": "float32", "double": "float64"}
SINGLE: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
    "boolean": st.booleans,
    "octet": lambda: st.binary(min_size=1, max_size=1),
    # The generated setter rounds the largest float32 down and then refuses what lies above.
    "float": lambda: st.floats(width=32).filter(lambda number: abs(number) <= 3.402823466e38 or not math.isfinite(number)),
    "double": st.floats,
    **{name: _integers(name) for name in INTEGERS},
}
