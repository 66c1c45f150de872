"""Protects the generated messages and services: every kind of field crosses real DDS between two processes and comes back unchanged."""

from __future__ import annotations

import ctypes
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from echo_node import LASTING, load
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from message_content import messages, plain
from observer import Observer
from ros_process import RosProcess
from test_type_hashes import OURS, source_of
from type_descriptions import type_hash

from embedded_ros.interfaces import Definitions, install
from embedded_ros.prefix import Prefix

HERE = Path(__file__).resolve().parent
DEFINITIONS = Definitions("wm_test_interfaces", HERE / "wm_test_interfaces")
OTHERS = [f"wm_test_interfaces/{path.parent}/{path.stem}" for path in DEFINITIONS.files]
MESSAGES = [name for name in [*OURS, *OTHERS] if "/msg/" in name]
SERVICES = [name for name in [*OURS, *OTHERS] if "/srv/" in name]
MANY = settings(max_examples=15, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefix]:
    """`wm_test_interfaces`, built into a prefix of its own that this process and its children see."""
    prefix = Prefix(tmp_path_factory.mktemp("over lay"))
    assert install(DEFINITIONS, python_package=True, prefix=prefix)
    # The linker of this process looked at LD_LIBRARY_PATH when it started: what is loaded already it finds by name.
    for library in ("generator_c", "typesupport_fastrtps_c", "typesupport_introspection_c", "typesupport_c"):
        ctypes.CDLL(str(prefix.libraries / f"lib{DEFINITIONS.package}__rosidl_{library}.so"))
    folders = {"AMENT_PREFIX_PATH": prefix.root, "LD_LIBRARY_PATH": prefix.libraries, "PYTHONPATH": prefix.site_packages}
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in folders.items():
            patch.setenv(name, f"{folder}:{os.environ.get(name, '')}".rstrip(":"))
        patch.syspath_prepend(str(prefix.site_packages))
        yield prefix


class Mirror:
    """The companion process, seen from here: what it hears on `there/NAME` it says on `back/NAME`."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._channels: dict[tuple[str, str], tuple[Any, list[Any]]] = {}

    def there_and_back(self, name: str, message: Any) -> Any:
        """The message as it comes back."""
        publisher, heard = self._channel(name, type(message))
        publisher.publish(message)
        return self._observer.until(lambda: heard and [heard.pop()], f"{name} back")[0]

    def ask(self, name: str, request: Any, answer: Any) -> tuple[Any, Any]:
        """(what the companion was asked, what it answered) when it is to answer `answer`."""
        self.there_and_back(name, answer)
        _, asked = self._channel(name, type(request), "asked")
        answered = self._observer.call(load(name), name, request)
        return self._observer.until(lambda: asked and [asked.pop()], f"request of {name}")[0], answered

    def _channel(self, name: str, kind: type, way: str = "back") -> tuple[Any, list[Any]]:
        if (name, way) not in self._channels:
            publisher = self._observer.node.create_publisher(kind, f"there/{name}", LASTING) if way == "back" else None
            self._channels[name, way] = publisher, self._observer.hear(kind, f"{way}/{name}", LASTING)
        return self._channels[name, way]


@pytest.fixture(scope="module")
def mirror(overlay: Prefix, observer: Observer, start: Callable[..., RosProcess]) -> Mirror:
    start(sys.executable, HERE / "echo_node.py", *MESSAGES, *SERVICES)
    return Mirror(observer)


@pytest.mark.parametrize("name", MESSAGES)
@MANY
@given(data=st.data())
def test_a_message_comes_back_unchanged(name: str, mirror: Mirror, data: st.DataObject) -> None:
    message = data.draw(messages(load(name)))
    sent = plain(message)
    assert plain(mirror.there_and_back(name, message)) == sent


@pytest.mark.parametrize("name", SERVICES)
@MANY
@given(data=st.data())
def test_request_and_answer_arrive_unchanged(name: str, mirror: Mirror, data: st.DataObject) -> None:
    request, answer = data.draw(messages(load(name).Request)), data.draw(messages(load(name).Response))
    expected = plain(request), plain(answer)
    asked, answered = mirror.ask(name, request, answer)
    assert (plain(asked), plain(answered)) == expected


def test_extreme_content_comes_back_unchanged(mirror: Mirror) -> None:
    name = "wm_test_interfaces/msg/Unbounded"
    message = load(name)(
        float32_value=[math.nan, math.inf, -math.inf, -0.0, 2**-149],
        float64_value=[math.nan, math.inf, -math.inf, -0.0, 5e-324, sys.float_info.max],
        string_value=["", "ä€𝄞" * 10_000, "line\nbreak\ttab"],
        wstring_value=["", "ä€𝄞", "\uffff"],
        uint8_value=bytes(range(256)) * 4096,
        uint64_value=[0, 2**64 - 1],
    )
    sent = plain(message)
    assert plain(mirror.there_and_back(name, message)) == sent


def test_a_message_without_fields_arrives(mirror: Mirror) -> None:
    name = "wm_test_interfaces/msg/Nothing"
    assert isinstance(mirror.there_and_back(name, load(name)()), load(name))


def test_defaults_and_constants_are_those_of_the_definition(overlay: Prefix, mirror: Mirror) -> None:
    name = "wm_test_interfaces/msg/Defaults"
    kind = load(name)
    assert (kind.YES, kind.OCTET, kind.LETTER, kind.LEAST, kind.MOST) == (True, b"\xff", 97, -128, 2**64 - 1)
    assert (kind.HALF, kind.TENTH, kind.WORDS, kind.WIDE) == (0.5, 0.1, "a 'quoted' word", "größer 你好")
    expected = {
        "flag": True,
        "least": -(2**63),
        "most": 255,
        "tenth": (0.1).hex(),
        "words": "a b",
        "wide": "ünï",
        "short_words": "abcde",
        "three": [1, -2, 3],
        "some": [(0.5).hex(), (-0.25).hex()],
        "names": ["x", "y z"],
        "flags": [True, False],
    }
    assert plain(mirror.there_and_back(name, kind())) == expected


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("Single", "bounded_string_value", "thirteen char"),
        ("Bounded", "int32_value", [1, 2, 3, 4]),
        ("Fixed", "string_value", ["only", "two"]),
        ("Single", "uint8_value", 256),
        ("Single", "float64_value", 1),
        ("Single", "string_value", 1.0),
    ],
)
def test_content_that_the_definition_forbids_is_refused(overlay: Prefix, name: str, field: str, value: object) -> None:
    message = load(f"wm_test_interfaces/msg/{name}")()
    with pytest.raises(AssertionError, match=field):
        setattr(message, field, value)


@pytest.mark.parametrize("name", OTHERS)
def test_every_kind_of_field_has_the_independent_type_hash(name: str, overlay: Prefix) -> None:
    _, kind, short = name.split("/")
    content = json.loads((overlay.share("wm_test_interfaces") / kind / f"{short}.json").read_text(encoding="utf-8"))
    found = {entry["type_name"]: entry["hash_string"] for entry in content["type_hashes"]}
    assert found[name] == type_hash(name, lambda package: DEFINITIONS.root if package == DEFINITIONS.package else source_of(package))


def test_a_package_that_is_there_unchanged_is_not_built_again(overlay: Prefix) -> None:
    assert not install(DEFINITIONS, python_package=True, prefix=overlay)
