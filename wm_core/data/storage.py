"""What a disk says when it takes nothing more, told in one way wherever datasets are written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wm_core.data.errors import StorageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSALS = (*FULL, errno.EROFS, errno.EACCES, errno.EIO)


@contextmanager
def writing(dataset: Path) -> Iterator[None]:
    """A refusal of the disk within the block becomes a StorageError; every other error goes through as it is."""
    try:
        yield
    except Exception as error:
        refusal = _refusal(error, REFUSALS)
        if isinstance(error, StorageError) or not refusal:
            raise
        mend = "make room, or let it be written to; then do it again: what was there is as it was"
        raise StorageError(f"the dataset {dataset} cannot be written", got=refusal, mend=mend) from error


def full(error: Exception) -> StorageError | None:
    """What to say of an error that a disk without room is behind, wherever it was raised; None for every other error."""
    if not _refusal(error, FULL):
        return None
    return StorageError("the disk takes nothing more", got=error, mend="make room, then do it again")


def _refusal(error: Exception, reasons: Sequence[int]) -> str:
    """Why the disk refused; empty for other errors. Copies of folders and the encoder's threads tell of it in words only."""
    return next((words for words in map(os.strerror, reasons) if words in str(error)), "")
