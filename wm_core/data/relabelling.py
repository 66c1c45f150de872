"""Words about episodes that are kept already: the recorder leaves them beside the dataset, the exporter, which alone changes it, sets them.

DATASET.journal/labels/000004.json is one such word. It names its episode as the journal does, so that it finds it before, while and after
the journal becomes an episode, and it stays until what it says stands in the journal or in the dataset.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wm_core.data import dataset_growth, journal
from wm_core.data.dataset_growth import NUMBER, Said
from wm_core.data.errors import EpisodeError, StorageError
from wm_core.data.journal import CAPTURING, EXPORTED, FAILED, FINISHED
from wm_core.data.storage import writing

LABELS, SET_ASIDE = "labels", ".failed"
Target = dict[str, Any]
"""Which episode is meant: its `journal`, or its `index` in the dataset where it came by no journal."""


def ask(root: Path, target: Target, said: dict[str, str]) -> None:
    """Leave word for the exporter, behind what was said before. An OSError where the disk takes nothing."""
    folder = root / LABELS
    folder.mkdir(parents=True, exist_ok=True)
    number = max((int(path.stem) for path in folder.glob("[0-9]*")), default=-1) + 1
    journal.write_whole(folder / f"{number:06d}.json", target | {"said": said})


def waiting(root: Path) -> list[Path]:
    """What was said and is not set yet, in the order in which it was said."""
    return sorted((root / LABELS).glob("[0-9]*.json"))


def settle(dataset: Path, say: Callable[[str], None]) -> None:
    """Set what was said; only who holds the lock `exporter` may. What cannot be set is named and kept aside, and the next is set."""
    for path in waiting(journal.root_of(dataset)):
        records = dataset_growth.labels(dataset)
        try:
            with writing(dataset):
                _set(dataset, records, json.loads(path.read_text(encoding="utf-8")))
                path.unlink()
        except StorageError:
            raise  # the word stays, for a disk with room
        except Exception as error:  # noqa: BLE001 whatever is wrong with one word, the next is set
            aside = path.rename(path.with_suffix(SET_ASIDE))
            say(f"a label was not set, and stays in {aside}: {error}")


def _set(dataset: Path, records: Sequence[Said], asked: Target) -> None:
    """In the dataset if the episode is there, else in its journal."""
    name, said = asked.get("journal"), dict(asked["said"])
    index = int(asked["index"]) if name is None else _index(records, name)
    if index is not None:
        dataset_growth.relabel(dataset, index, said)
        return
    kept = next((one for one in journal.journals(journal.root_of(dataset)) if one.name == name), None)
    if kept is None:
        raise EpisodeError("its episode is neither in the dataset nor among the journals", got=name)
    replace(kept, labels=replace(kept.labels, **said)).save()


def target(dataset: Path, number: int) -> Target:
    """The episode that this number was answered for; an EpisodeError where none is kept."""
    # In this order: a journal that is gone when it is looked for has become an episode before.
    waits = {one.number: one for one in journal.journals(journal.root_of(dataset))}
    records = dataset_growth.labels(dataset)
    one = waits.get(number)
    if one is not None and (one.state == FINISHED or (one.state == EXPORTED and _index(records, one.name) is not None)):
        return {"journal": one.name}
    if one is not None and one.state == FAILED:
        raise EpisodeError(f"episode {number} could not be exported, and stays in {one.folder}", got=one.faults[-1])
    if one is not None and one.state == CAPTURING:
        raise EpisodeError(f"episode {number} is not ended", mend="STOP it with its label, or start the recorder again if it is gone")
    index = _numbered(dataset, records).get(number)
    if index is None:
        raise EpisodeError(f"there is no kept episode {number}", allowed=_listed(kept_numbers(dataset)))
    name = records[index].get("journal")
    return {"index": index} if name is None else {"journal": name}


def kept_numbers(dataset: Path) -> list[int]:
    """The numbers of all episodes that are in the dataset or wait to be."""
    waits = [one.number for one in journal.journals(journal.root_of(dataset)) if one.state == FINISHED]
    return sorted({*waits, *_numbered(dataset, dataset_growth.labels(dataset))})


def next_number(dataset: Path) -> int:
    """Of the next episode: behind all that are in the dataset, and all that lie beside it, whatever became of them."""
    records = dataset_growth.labels(dataset)
    return max([len(records), *(number + 1 for number in (*_own(records), *_taken(dataset)))])


def _numbered(dataset: Path, records: Sequence[Said]) -> dict[int, int]:
    """Index of each episode by its number. One that no recorder numbered has its index as such, unless that was given to another."""
    taken = _taken(dataset)
    return {index: index for index, said in enumerate(records) if NUMBER not in said and index not in taken} | _own(records)


def _own(records: Sequence[Said]) -> dict[int, int]:
    return {said[NUMBER]: index for index, said in enumerate(records) if isinstance(said.get(NUMBER), int)}


def _taken(dataset: Path) -> set[int]:
    return {int(folder.name) for folder in journal.folders(journal.root_of(dataset))}


def _index(records: Sequence[Said], name: str) -> int | None:
    return next((index for index, said in enumerate(records) if said.get("journal") == name), None)


def _listed(numbers: Sequence[int]) -> str:
    if not numbers:
        return "none is kept yet"
    missing = sorted(set(range(numbers[-1])) - set(numbers))
    return f"0 .. {numbers[-1]}{' without ' if missing else ''}{', '.join(map(str, missing))}"
