"""Journals and bags into LeRobot datasets: one process writes, in the order in which the episodes were captured, and loses none."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from wm_core.data import dataset_growth, journal, relabelling
from wm_core.data.bag import Bag
from wm_core.data.errors import DatasetError, StorageError
from wm_core.data.journal import EXPORTED, FAILED, FINISHED, Journal, Labels, Lock
from wm_core.data.recording import recorded
from wm_core.data.recording_config import Contract
from wm_core.data.storage import writing
from wm_core.errors import WmError

Say = Callable[[str], None]
PERIOD = 0.2  # s between two looks for new journals


def from_bag(bag: Path, contract: Contract, labels: Labels, dataset: Path, say: Say) -> int:
    """Add what a bag holds to a dataset; returns the episode's index."""
    made = recorded(Bag(bag), contract, labels.task)
    for fault in made.faults:
        say(f"{bag}: {fault}")
    said = asdict(labels) | {"bag": bag.name, "faults": list(made.faults), "preprocessing": asdict(contract.config.preprocessing)}
    index = dataset_growth.grow(dataset, made.episode, made.layout, contract.config.video, said)
    say(f"{bag}: {len(made.episode)} rows are episode {index} of {dataset}")
    return index


def export(dataset: Path, say: Say, linger: float = 0.0, clock: Callable[[], float] = time.monotonic) -> int:
    """Export every finished journal of a dataset; while its recorder lives, wait for more for `linger` (s). Returns how many were exported.

    What a killed recorder left behind is finished first, unless a recorder is at work.
    """
    root, done = journal.root_of(dataset), 0
    lock = Lock(root, "exporter")
    try:
        dataset_growth.mended(dataset)
        _salvage(root, say)
        for error in journal.unreadable(root):
            say(str(error))
        until = clock() + linger
        while True:
            # Asked first: what a recorder leaves behind in its last moment is found after it.
            over = clock() >= until or not _recorder_lives(root)
            relabelling.settle(dataset, say)  # before the journals are read, and once more behind the last of them
            found = [one for one in journal.journals(root) if one.state == FINISHED]
            for one in found:
                done += _exported(dataset, one, say)
                until = clock() + linger
            if found:
                continue
            if over:
                return done
            time.sleep(PERIOD)
    finally:
        lock.release()


def try_again(dataset: Path) -> None:
    """Let `export` take the journals once more that made no episode; the cause was mended."""
    root = journal.root_of(dataset)
    lock = Lock(root, "exporter")
    try:
        for one in journal.journals(root):
            if one.state == FAILED:
                replace(one, state=FINISHED, faults=one.faults[:-1]).save()
    finally:
        lock.release()


def _salvage(root: Path, say: Say) -> None:
    try:
        lock = Lock(root, "recorder")
    except DatasetError:
        return  # it lives, and what it is capturing is its own
    try:
        for one in journal.salvage(root):
            say(f"journal {one.number} was left unfinished: salvaged")
    finally:
        lock.release()


def _recorder_lives(root: Path) -> bool:
    try:
        Lock(root, "recorder").release()
    except DatasetError:
        return True
    return False


def _exported(dataset: Path, one: Journal, say: Say) -> int:
    """One journal; 1 if it is in the dataset now. One that makes no episode is kept aside, named, whatever is wrong with it."""
    source = f"journal {one.folder.name}"
    if any(said.get("journal") == one.name for said in dataset_growth.labels(dataset)):
        _forget(dataset, one)  # a kill came after the episode was in place
        return 0
    try:
        made = recorded(Bag(one.capture), one.contract, one.labels.task)
        faults = [*one.faults, *made.faults]
        seen = asdict(one.contract.config.preprocessing)
        said = asdict(one.labels) | {"journal": one.name, dataset_growth.NUMBER: one.number, "faults": faults, "preprocessing": seen}
        index = dataset_growth.grow(dataset, made.episode, made.layout, one.contract.config.video, said)
    except (StorageError, ImportError):
        raise  # the episode stays, for a disk with room and an installation that is whole
    except Exception as error:  # noqa: BLE001 whatever is wrong with one episode, the next is exported
        why = str(error) if isinstance(error, WmError) else f"{type(error).__name__}: {error}"
        with writing(dataset):
            replace(one, state=FAILED, faults=(*one.faults, why)).save()
        say(f"{source} is no episode, and stays in {one.folder}: {why}")
        return 0
    say(f"{source}: {len(made.episode)} rows are episode {index} of {dataset}{': ' + '; '.join(faults) if faults else ''}")
    _forget(dataset, one)
    return 1


def _forget(dataset: Path, one: Journal) -> None:
    with writing(dataset):
        if one.contract.config.keep_journals:
            replace(one, state=EXPORTED).save()
        else:
            shutil.rmtree(one.folder)
