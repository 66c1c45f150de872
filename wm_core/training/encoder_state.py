"""The state of a training of an encoder or decoder on disk: network, optimiser, step; safetensors, never half written."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from wm_core.errors import VisionError
from wm_core.vision.weights import fill, read_weights, write_weights

NETWORK, MOMENTS, STEP, IDENTITY = "network.", "optimiser.", "step", "identity"


def write_state(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, identity: str, step: int) -> None:
    """Everything that the next step needs; `identity` (hex) names the configuration and data it belongs to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"{MOMENTS}{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    tensors[STEP] = torch.tensor(step)
    tensors[IDENTITY] = torch.frombuffer(bytearray.fromhex(identity), dtype=torch.uint8)
    write_weights(path, tensors)


def read_state(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, identity: str) -> int:
    """Put the state back and return the step to go on with; a state of another training is refused."""
    tensors = read_weights(path)
    if IDENTITY not in tensors or bytes(tensors[IDENTITY].tolist()).hex() != identity:
        mend = f"remove {path}, or train into another folder"
        raise VisionError(
            "the folder holds the state of another training", got=path, allowed="the same configuration and frames", mend=mend
        )
    fill(network, {name.removeprefix(NETWORK): value for name, value in tensors.items() if name.startswith(NETWORK)}, str(path))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(MOMENTS):
            index, which = name.removeprefix(MOMENTS).split(".")
            moments.setdefault(int(index), {})[which] = value
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(tensors[STEP])
