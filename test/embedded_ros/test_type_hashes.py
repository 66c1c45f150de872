"""Protects the type hashes: a node on the embedded ROS and one built by colcon must take each other's messages for the same types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from rclpy.node import Node
from type_descriptions import type_hash

from embedded_ros.prefix import HERE

ROOT = Path(__file__).resolve().parents[2]
OURS = sorted(f"wm_ros/{path.parent.name}/{path.stem}" for kind in ("msg", "srv") for path in ROOT.glob(f"{kind}/*.{kind}"))
WHEELS = (
    "builtin_interfaces",
    "geometry_msgs",
    "rcl_interfaces",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "diagnostic_msgs",
    "lifecycle_msgs",
)


def source_of(package: str) -> Path:
    """Our own definitions are read where they are written, not where they were installed."""
    return ROOT if package == "wm_ros" else HERE.share(package)


def recorded(package: str, kind: str, name: str) -> dict[str, str]:
    """Type name -> hash, as the generator wrote it for this definition: the type itself and, for a service, its parts."""
    content = json.loads((HERE.share(package) / kind / f"{name}.json").read_text(encoding="utf-8"))
    return {entry["type_name"]: entry["hash_string"] for entry in content["type_hashes"]}


def names_in(package: str) -> Iterator[tuple[str, str]]:
    for kind in ("msg", "srv"):
        for path in sorted((HERE.share(package) / kind).glob(f"*.{kind}")):
            yield kind, path.stem


@pytest.mark.parametrize("package", WHEELS)
def test_the_oracle_agrees_with_the_hashes_that_the_wheels_ship(package: str) -> None:
    compared = 0
    for kind, name in names_in(package):
        expected = recorded(package, kind, name)[f"{package}/{kind}/{name}"]
        assert type_hash(f"{package}/{kind}/{name}", source_of) == expected
        compared += 1
    assert compared > 0


@pytest.mark.parametrize("name", OURS)
def test_our_generated_descriptions_carry_the_independent_hash(name: str) -> None:
    found = recorded(*name.split("/"))
    expected = {name} if "/msg/" in name else {name, *(f"{name}_{part}" for part in ("Request", "Response", "Event"))}
    assert expected <= set(found)
    for part in expected:
        assert found[part] == type_hash(part, source_of)


def test_every_definition_is_installed_and_nothing_else() -> None:
    assert sorted(f"wm_ros/{kind}/{name}" for kind, name in names_in("wm_ros")) == OURS


@pytest.mark.parametrize("name", [name for name in OURS if "/msg/" in name])
def test_the_graph_reports_the_independent_hash(name: str, node: Node) -> None:
    _, _, short = name.split("/")
    publisher = node.create_publisher(getattr(import_module("wm_ros.msg"), short), f"hash_of_{short}", 1)
    (info,) = node.get_publishers_info_by_topic(publisher.topic_name)
    reported = info.topic_type_hash
    assert f"RIHS{reported.version:02d}_{bytes(reported.value).hex()}" == type_hash(name, source_of)
    node.destroy_publisher(publisher)
