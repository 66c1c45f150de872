"""LeRobot v2.1 datasets brought to v3 with the `lerobot` package's own conversion, offline, leaving the original as it was."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from wm_core.data import metadata
from wm_core.data.errors import DatasetError


def convert(old: Path, new: Path) -> None:
    """Write the v2.1 dataset at `old` as a v3 dataset at `new`, which must not exist yet."""
    if new.exists():
        raise DatasetError("there is something at the place of the converted dataset", got=new, mend="remove it, or give another place")
    version = metadata.version_of(old)
    if version != "v2.1":
        raise DatasetError(f"{old} is not a v2.1 dataset", got=version, allowed="v2.1", mend="convert older ones to v2.1 first")
    from lerobot.scripts.convert_dataset_v21_to_v30 import convert_dataset

    new.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=new.parent, prefix=f".{new.name}.") as aside:
        # The package converts in place and moves the original away, so it is given a copy; files are hard links where the disk allows.
        copy = Path(aside) / "dataset"
        shutil.copytree(old, copy, copy_function=_link)
        try:
            convert_dataset(repo_id=f"local/{new.name}", root=copy, push_to_hub=False)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise DatasetError(f"{old} could not be converted", got=f"{type(error).__name__}: {error}") from error
        metadata.load(copy)
        copy.rename(new)


def _link(source: str, target: str) -> str:
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)
    return target
