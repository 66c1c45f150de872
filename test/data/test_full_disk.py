"""Protects what was captured from a disk that is full or read-only: it is named, nothing is changed, and with room it all goes through."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MOUNT = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=6m tmpfs "$0" && exec "$@"']
ROOMS = (0, 60_000, 100_000)  # bytes that are left, so that the end comes in tables, videos and what is told of them
# Run on a disk of 6 MB: FOLDER ROOM... It writes one line of JSON for each room, and imports the lerobot package once.
PROGRAM = """
import contextlib, json, shutil, subprocess, sys
from pathlib import Path
from recordings import LABELS, contract, messages, write_bag, write_journal
from wm_core.data import journal
from wm_core.data.errors import StorageError
from wm_core.data.export import export, from_bag
from wm_core.data.metadata import load
from wm_core.data.bag import Bag
from wm_core.data.lerobot_writer import DatasetWriter
from wm_core.data.recorder import Recorder
from wm_core.data.recording import recorded

def quiet(text):
    pass

def tried(folder, room):
    dataset, filler, agreed = folder / "set", folder / "filler", contract()
    root, told = journal.root_of(dataset), {"room": room, "refused": ""}
    write_journal(root, 0, messages(2.0), agreed)
    export(dataset, quiet)
    write_journal(root, 1, messages(2.0), agreed)
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    with filler.open("r+b") as file:
        file.truncate(filler.stat().st_size - room)
    try:
        export(dataset, quiet)
    except StorageError as error:
        told["refused"] = str(error)
    told["then"] = [len(load(dataset)), [one.state for one in journal.journals(root)], sorted(one.name for one in folder.iterdir())]
    filler.unlink()
    export(dataset, quiet)
    told["at last"] = [len(load(dataset)), len(journal.journals(root))]
    shutil.rmtree(dataset)
    return told

def locked(folder):
    dataset, agreed = folder / "set", contract()
    write_journal(journal.root_of(dataset), 0, messages(1.0), agreed)
    export(dataset, quiet)
    write_bag(folder / "more.mcap", messages(1.0))
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    refused = []
    for attempt in (
        lambda: export(dataset, quiet),
        lambda: from_bag(folder / "more.mcap", agreed, LABELS, dataset, quiet),
        lambda: Recorder(dataset, agreed),
    ):
        try:
            attempt()
        except StorageError as error:
            refused.append(str(error))
    return {"read-only": refused, "episodes": len(load(dataset))}

def collected(folder):
    bag, filler = folder / "some.mcap", folder / "filler"
    made = recorded(Bag(write_bag(bag, messages(2.0))), contract(), "none")
    filler.write_bytes(bytes(shutil.disk_usage(folder).free - 60_000))
    told = {"new": ""}
    try:
        with DatasetWriter(folder / "new", made.layout, contract().config.video) as writer:
            writer.write(made.episode)
    except StorageError as error:
        told["new"] = str(error)
    told["left"] = sorted(one.name for one in folder.iterdir())
    for rest in (bag, filler):
        rest.unlink()
    return told

folder = Path(sys.argv[1])
print(json.dumps(collected(folder)))
for room in sys.argv[2:]:
    print(json.dumps(tried(folder, int(room))))
print(json.dumps(locked(folder)))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """First what a new set came to, then an export for each room, then what came of a disk that may only be read."""
    folder = tmp_path_factory.mktemp("small_disk")
    if subprocess.run([*MOUNT, folder, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{PROGRAM}"
    command = [*MOUNT, folder, sys.executable, "-c", program, folder, *map(str, ROOMS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_it_is_named(told: list[dict[str, Any]]) -> None:
    assert [one["room"] for one in told[1:-1]] == list(ROOMS)
    for one in told[1:-1]:
        assert "cannot be written" in one["refused"], one
        assert "No space left on device" in one["refused"]


def test_a_new_set_that_finds_no_room_leaves_nothing_behind(told: list[dict[str, Any]]) -> None:
    assert "No space left on device" in told[0]["new"]
    assert told[0]["left"] == ["filler", "some.mcap"]


def test_nothing_is_committed_half_and_nothing_committed_is_lost(told: list[dict[str, Any]]) -> None:
    for one in told[1:-1]:
        assert one["then"] == [1, ["finished"], ["filler", "set", "set.journal"]]


def test_it_goes_through_once_there_is_room(told: list[dict[str, Any]]) -> None:
    for one in told[1:-1]:
        assert one["at last"] == [2, 0]


def test_one_that_may_only_be_read_is_named_by_everybody_who_would_write(told: list[dict[str, Any]]) -> None:
    refused = told[-1]["read-only"]
    assert len(refused) == 3
    assert all("can be written" in one or "cannot be written" in one for one in refused)
    assert all("Read-only file system" in one for one in refused)
    assert told[-1]["episodes"] == 1
