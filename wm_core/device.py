"""Where tensors live: one answer to `auto`, and one refusal of a GPU that is not there."""

from __future__ import annotations

import torch

from wm_core.errors import ConfigurationError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""The numbers that networks compute in, by their names in configuration files."""


def torch_device(name: str = "auto", setting: str = "device") -> torch.device:
    """auto: a GPU where there is one. `setting` is what a user changes when a GPU is asked for that is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("there is no GPU to run on", got=f"{setting}: cuda", allowed="cpu or auto", mend=f"change {setting}")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
