"""Protects the choice of transport: no shared memory where it is not wanted, and discovery never reaches further than it was asked to."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from wm_ros.dds import avoid_shared_memory

CONFIG = Path(__file__).parents[2] / "config"
RMW = "rmw_fastrtps_cpp"
SPACE = "{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}"


def profile(environment: dict[str, str]) -> ET.Element:
    """The DDS profile that Fast DDS 2 and 3 would read."""
    assert environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == environment["FASTDDS_DEFAULT_PROFILES_FILE"]
    return ET.parse(environment["FASTRTPS_DEFAULT_PROFILES_FILE"]).getroot()


@pytest.mark.parametrize("asked", [{"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, {"ROS_LOCALHOST_ONLY": "1"}])
def test_what_was_to_stay_on_this_machine_does(asked: dict[str, str]) -> None:
    environment = dict(asked)
    avoid_shared_memory(environment, RMW, CONFIG)
    # rmw_fastrtps adds shared memory for LOCALHOST; what it promises is in the profile.
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    assert "ROS_LOCALHOST_ONLY" not in environment
    found = profile(environment)
    for words in (".//{0}interfaceWhiteList/{0}address", ".//{0}initialPeersList//{0}address"):
        assert [element.text for element in found.findall(words.format(SPACE))] == ["127.0.0.1"]


@pytest.mark.parametrize("reach", ["SUBNET", "OFF", "SYSTEM_DEFAULT", None])
def test_any_other_range_stays_as_it_is(reach: str | None) -> None:
    environment = {} if reach is None else {"ROS_AUTOMATIC_DISCOVERY_RANGE": reach}
    avoid_shared_memory(environment, RMW, CONFIG)
    assert environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE") == reach
    assert not profile(environment).findall(f".//{SPACE}interfaceWhiteList")


@pytest.mark.parametrize("name", ["this_machine.xml", "network.xml"])
def test_no_profile_has_shared_memory(name: str) -> None:
    root = ET.parse(CONFIG / "dds" / name).getroot()
    assert [element.text for element in root.iter(f"{SPACE}type")] == ["UDPv4"]
    assert [element.text for element in root.iter(f"{SPACE}useBuiltinTransports")] == ["false"]
    assert [element.get("is_default_profile") for element in root.iter(f"{SPACE}participant")] == ["true"]


def test_another_middleware_is_left_alone() -> None:
    environment = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    avoid_shared_memory(environment, "rmw_cyclonedds_cpp", CONFIG)
    assert environment == {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


def test_a_profile_of_the_user_stays(tmp_path: Path) -> None:
    own = tmp_path / "own.xml"
    own.write_text('<profiles><participant profile_name="robot" is_default_profile="true"/></profiles>', encoding="utf-8")
    for variable in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        environment = {variable: str(own), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        before = dict(environment)
        avoid_shared_memory(environment, RMW, CONFIG)
        assert environment == before


def test_the_profile_that_came_with_us_gives_way() -> None:
    environment = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(CONFIG / "dds" / "this_machine.xml")}
    avoid_shared_memory(environment, RMW, CONFIG)
    assert environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(CONFIG / "dds" / "network.xml")
