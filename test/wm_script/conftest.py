"""Clones on machines made up for one test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from checkout import NOTING_PYTHON, Checkout


@pytest.fixture
def bare(tmp_path: Path) -> Checkout:
    """A fresh clone on a machine with neither Python nor compiler."""
    return Checkout(tmp_path)


@pytest.fixture
def noting(bare: Checkout) -> Checkout:
    """The same with a Python 3.12 that takes notes instead of installing anything."""
    bare.write_command("python3.12", NOTING_PYTHON)
    return bare


@pytest.fixture
def real(bare: Checkout) -> Checkout:
    """The same with this machine's Python 3.12."""
    bare.link("python3.12", Path(sys.base_prefix) / "bin" / "python3.12")
    return bare
