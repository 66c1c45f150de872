"""One process or several, started by torchrun: who is who, how weights and gradients are shared, and sums over all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from wm_core.device import torch_device

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """One process among those that train together."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.world > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.world > 1:
            distributed.barrier()


ALONE = Processes()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes that torchrun started, or this one alone; `device` is auto, cpu or cuda."""
    name = torch_device(device, "run.device").type
    world = int(os.environ.get("WORLD_SIZE", "1"))
    place = torch.device(name, int(os.environ.get("LOCAL_RANK", "0"))) if name == "cuda" else CPU
    if name == "cuda":
        torch.cuda.set_device(place)
    if world == 1:
        yield Processes(device=place)
        return
    distributed.init_process_group("nccl" if name == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size(), place)
        distributed.barrier()  # nobody takes its connections down while another still uses them
    finally:
        distributed.destroy_process_group()


def spread(network: nn.Module, average: nn.Module, strategy: str, processes: Processes) -> nn.Module:
    """What to call in place of `network` so that gradients are averaged over all processes; with fsdp, both give up a share of weights."""
    if processes.world == 1:
        return network
    if strategy == "ddp":
        return DistributedDataParallel(network)
    mesh = init_device_mesh(processes.device.type, (processes.world,))
    for whole_network in (network, average):
        for block in whole_network.blocks:  # type: ignore[union-attr]
            fully_shard(block, mesh=mesh)
        fully_shard(whole_network, mesh=mesh, reshard_after_forward=True)  # the teacher has no backward pass to give its weights back
    return network


def gradient_sync(student: nn.Module, wanted: bool) -> AbstractContextManager[None]:
    """Around the forward and backward pass of one batch: whether its gradients are shared, which only a step's last one needs."""
    if isinstance(student, FSDPModule):
        student.set_requires_gradient_sync(wanted)
    if isinstance(student, DistributedDataParallel) and not wanted:
        return student.no_sync()
    return nullcontext()


def whole(value: Tensor) -> Tensor:
    """A tensor of which each process may hold a share, whole; all processes must ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def shared_like(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, shared out as `like` is, on its device."""
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements) if isinstance(like, DTensor) else value
