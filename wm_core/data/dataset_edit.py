"""Merging datasets and deleting episodes with the lerobot package's own tools; what was said of each episode goes along."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from wm_core.data import metadata
from wm_core.data.dataset_growth import NUMBER, Said, keep, labels
from wm_core.data.errors import DatasetError


def merge(parts: Sequence[Path], out: Path) -> int:
    """Write the episodes of several datasets, in order, as one at `out`; videos are not encoded again. Returns how many there are."""
    rates = {metadata.load(part).fps for part in parts}
    if len(parts) < 2 or len(rates) > 1:
        got = f"{len(parts)} datasets of {', '.join(f'{rate:g}' for rate in sorted(rates))} rows per second"
        raise DatasetError("these datasets make no whole", got=got, allowed="two or more, of one rate")

    def make(place: Path) -> None:
        from lerobot.datasets import aggregate_datasets

        names = [f"local/{part.name}" for part in parts]
        aggregate_datasets(names, f"local/{out.name}", [part.resolve() for part in parts], place)
        _tell_where_episodes_are(place)

    said = [one for part in parts for one in labels(part)]
    _made(out, make, said)
    return len(said)


def delete(dataset: Path, episodes: Sequence[int], out: Path) -> int:
    """Write a dataset without some of its episodes at `out`; the original stays. Returns how many are left."""
    known = labels(dataset)
    wrong = sorted(index for index in set(episodes) if not 0 <= index < len(known))
    if wrong or not episodes or len(set(episodes)) == len(known):
        allowed = f"some of 0 .. {len(known) - 1}, not all"
        raise DatasetError("these episodes cannot be deleted", got=", ".join(map(str, wrong or episodes)) or "none", allowed=allowed)

    def make(place: Path) -> None:
        from lerobot.datasets import LeRobotDataset
        from lerobot.datasets.dataset_tools import delete_episodes

        whole = LeRobotDataset(f"local/{dataset.name}", root=dataset.resolve(), video_backend="pyav")
        delete_episodes(whole, sorted(set(episodes)), place, f"local/{out.name}")

    left = [said for index, said in enumerate(known) if index not in set(episodes)]
    _made(out, make, left)
    return len(left)


def _tell_where_episodes_are(place: Path) -> None:
    """Each row of the table of episodes names its own file; the package leaves the names that the parts had."""
    for path in sorted((place / "meta" / "episodes").glob("chunk-*/file-*.parquet")):
        table = pq.read_table(path)
        for what, part in (("chunk_index", path.parent.name), ("file_index", path.stem)):
            name, number = f"meta/episodes/{what}", int(part.rpartition("-")[2])
            if name in table.column_names:
                column = pa.array([number] * len(table), type=table.schema.field(name).type)
                table = table.set_column(table.column_names.index(name), name, column)
        pq.write_table(table, path)


def _made(out: Path, make: Callable[[Path], None], said: list[Said]) -> None:
    """A new dataset at `out`, whole or not at all."""
    if out.exists():
        raise DatasetError("there is something at the place of the new dataset", got=out, mend="remove it, or give another place")
    growing = out.with_name(f".{out.name}.growing")
    shutil.rmtree(growing, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        make(growing)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        shutil.rmtree(growing, ignore_errors=True)
        raise DatasetError(f"{out} could not be made", got=f"{type(error).__name__}: {error}") from error
    # Their numbers were answered for another dataset.
    unnumbered = [{word: value for word, value in one.items() if word != NUMBER} for one in said]
    if any(unnumbered):
        keep(growing, unnumbered)
    growing.rename(out)
