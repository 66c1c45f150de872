"""The errors of datasets: what is wrong with one, and where."""

from __future__ import annotations

from wm_core.errors import WmError


class DatasetError(WmError):
    """A dataset that is missing, corrupt, or not what its description says."""


class EpisodeError(DatasetError):
    """One episode that cannot be used; the rest of its dataset can."""


class CacheError(DatasetError):
    """A token cache that is of another encoder, damaged, or cannot be written."""


class StorageError(DatasetError):
    """The disk took nothing more; nothing is wrong with what was to be written."""
