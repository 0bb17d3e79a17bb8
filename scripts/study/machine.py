"""What planning needs to know of this machine: whether trainings use a GPU of it, and how they share its cores.

Loads nothing heavy, as planning (`snakemake -n`) comes here. Entry points:
    has_gpu() -> bool                                      whether PyTorch may find one
    memory_mb() -> int                                     main memory
    threads_of_each(cores, trainings, …) -> int            threads of one of several trainings on the processor
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path

# What the kernel has where there is a GPU that PyTorch computes on: NVIDIA's driver, the same under WSL, AMD's.
GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
NONE_VISIBLE = ("", "-1")  # in CUDA_VISIBLE_DEVICES


def has_gpu(devices: tuple[str, ...] = GPU_DEVICES, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this machine has a GPU that jobs may use; importing PyTorch to ask it would take longer than planning."""
    visible = environment.get("CUDA_VISIBLE_DEVICES", "all")
    return visible not in NONE_VISIBLE and any(Path(device).exists() for device in devices)


def memory_mb() -> int:
    """Main memory of this machine in MB, whatever is in use now: the same at every call."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 10**6


def threads_of_each(cores: int, trainings: int, memory: int, needed: int) -> int:
    """Threads of each of several trainings, so that together they use the cores and find room in memory.

    One thread each is best: a training of two threads waits for the slower one at every layer, and many times over
    where another process has one of the cores. More than one where there are more cores than trainings, or than fit.

    Args:
        cores: that all together may use.
        trainings: of the whole study, finished or not, so that the number is the same whatever is left to do.
        memory: of the machine, in MB.
        needed: of one training, in MB.
    """
    at_once = max(1, min(cores, trainings, memory // needed))
    return math.ceil(cores / at_once)
