"""One thread, and one small evaluation's data for all tests that read some."""

from __future__ import annotations

import pytest
import torch
from small_evaluation import Small, make


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return make(tmp_path_factory.mktemp("evaluation"))
