"""Tiny encoders and a small world of moving squares."""

import numpy as np
import pytest
import torch

from wm_core.vision.embedded import MomentNetwork, VitNetwork
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import Preprocessing

CPU = torch.device("cpu")
NETWORKS = {
    "moments": MomentNetwork(width=8, stride=2, maps=8, cell=8, dim=8),
    "vit": VitNetwork(8, 16, 2, 2),
}


@pytest.fixture(autouse=True)
def one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def preprocessing():
    return Preprocessing(32, "exact", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]


@pytest.fixture
def encoder(network, preprocessing):
    return FrozenEncoder("tiny", network.build(32), preprocessing, CPU)


@pytest.fixture
def frames():
    return torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def squares():
    """Episodes (24, 8, 32, 32, 3) uint8 of one red square that moves over a grey gradient, and where it is (24, 8, 2), pixels."""
    generator = np.random.default_rng(0)
    episodes = np.repeat(np.linspace(60, 160, 32).astype(np.uint8)[:, None, None], 32, axis=1).repeat(3, axis=2)
    episodes = np.tile(episodes, (24, 8, 1, 1, 1))
    corners = generator.integers(0, 26, size=(24, 8, 2))
    for episode, time in np.ndindex(24, 8):
        row, column = corners[episode, time]
        episodes[episode, time, row : row + 6, column : column + 6] = (220, 30, 30)
    return episodes, corners + 3.0
