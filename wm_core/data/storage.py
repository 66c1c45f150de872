"""What a disk says when it takes nothing more, told in one way wherever datasets are written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wm_core.data.errors import StorageError

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)


@contextmanager
def writing(dataset: Path) -> Iterator[None]:
    """A refusal of the disk within the block becomes a StorageError; every other error goes through as it is."""
    try:
        yield
    except Exception as error:
        refusal = _refusal(error)
        if isinstance(error, StorageError) or not refusal:
            raise
        mend = "make room, or let it be written to; then do it again: what was there is as it was"
        raise StorageError(f"the dataset {dataset} cannot be written", got=refusal, mend=mend) from error


def _refusal(error: Exception) -> str:
    """Why the disk refused; empty for other errors. Copies of folders and the encoder's threads tell of it in words only."""
    return next((words for words in map(os.strerror, REFUSALS) if words in str(error)), "")
