"""Which device a run uses and at which precision, and the lease that keeps two jobs off one GPU."""

import ctypes
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch

from study.errors import StudyError

POLL_SECONDS = 0.5
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def visible_gpus() -> list[str]:
    """UUIDs of the GPUs that this process may use, in PyTorch's order; empty on a machine without.

    The CUDA driver has applied `CUDA_VISIBLE_DEVICES` (indices or UUIDs) already. A UUID names the same GPU in every
    process, while index 0 is another GPU in each job of a scheduler. Everything below asks here, so that tests can
    stand in for hardware.
    """
    if not torch.cuda.is_available():
        return []
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]


def select_device(choice: str) -> torch.device:
    """The device of the config key `training.device`; "cuda" without an index means any of the visible GPUs.

    Raises:
        StudyError: if the machine does not have it.
    """
    gpus = visible_gpus() if choice != "cpu" else []
    if choice == "auto":
        return torch.device("cuda" if gpus else "cpu")
    device = torch.device(choice)
    if device.type == "cuda" and not gpus:
        raise StudyError(
            f"config key 'training.device': found '{choice}', but PyTorch {torch.__version__} sees no CUDA device here "
            f"(CUDA_VISIBLE_DEVICES is {os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')!r}); set it to 'auto' or "
            "'cpu', or install a driver and a PyTorch build that match the GPU"
        )
    if (device.index or 0) >= max(1, len(gpus)):
        raise StudyError(
            f"config key 'training.device': found '{choice}', allowed here is cuda:0 to cuda:{len(gpus) - 1}"
        )
    return device


@contextmanager
def leased(choice: str, slots: int, report: Callable[[str], None]) -> Iterator[torch.device]:
    """The device of `select_device`, held against other jobs of this user on this machine if it is a GPU.

    The lease is a file lock: the kernel frees it when the process ends, however it ends. While all slots of all
    allowed GPUs are taken, the job waits and says so. Without a GPU nothing happens.

    Args:
        choice: config key `training.device`.
        slots: jobs that may share one GPU, at least 1.
        report: takes a line for the log.
    """
    device = select_device(choice)
    if device.type != "cuda":
        yield device
        return
    gpus = visible_gpus()
    allowed = [device.index] if device.index is not None else list(range(len(gpus)))
    index, lock = _acquire(gpus, allowed, slots, report)
    with lock:
        yield torch.device("cuda", index)


def _acquire(gpus: list[str], allowed: list[int], slots: int, report: Callable[[str], None]) -> tuple[int, TextIO]:
    """Index of a GPU and its lock; returns only once it has one."""
    folder = Path(tempfile.gettempdir()) / f"gpu-leases-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    waited = False
    while True:
        for slot in range(slots):  # the first slot of every GPU before the second of any
            for index in allowed:
                lock = _try_lock(folder / f"{gpus[index]}.{slot}.lock")
                if lock:
                    report(f"GPU {index} ({gpus[index]}), slot {slot + 1} of {slots}: leased")
                    return index, lock
        if not waited:
            where = f"GPU {allowed[0]} is" if len(allowed) == 1 else f"all {len(allowed)} GPUs are"
            report(f"{where} taken by other jobs ({slots} at a time on each); waiting until one ends")
            waited = True
        time.sleep(POLL_SECONDS)


def _try_lock(path: Path) -> TextIO | None:
    """The open, locked file, or None if another process holds it. The file stays: removing it would race."""
    import fcntl  # absent on Windows, where this is never reached without a GPU

    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def fits(nbytes: int, device: torch.device, gpu_slots: int = 1) -> bool:
    """Whether data of this size may be kept on the device, with room to spare for the network and for other jobs.

    Allowed is half of the host's free memory, through which a copy to a GPU passes as well, and a quarter of the free
    memory of the GPU, divided among the jobs that may share it.
    """
    if nbytes > free_memory() // 2:
        return False
    return device.type != "cuda" or nbytes <= torch.cuda.mem_get_info(device)[0] // (4 * gpu_slots)


def free_memory(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes of this machine's memory that are free or can be freed; all of its memory where the kernel does not say."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Precision:
    """Arithmetic of convolutions and matrix products; weights and losses stay float32.

    Attributes:
        name: fp32, tf32, bf16 or fp16.
        dtype: what autocast turns their inputs into; None for no autocast.
    """

    name: str
    dtype: torch.dtype | None

    def autocast(self, device: torch.device) -> torch.autocast:
        """Context in which the forward pass runs."""
        return torch.autocast(device.type, dtype=self.dtype or torch.bfloat16, enabled=self.dtype is not None)


def select_precision(choice: str, device: torch.device) -> Precision:
    """The precision of the config key `training.precision`; "auto" is bf16 where the hardware has it, else fp32.

    Raises:
        StudyError: if the device does not compute in it.
    """
    supported = supported_precisions(device)
    if choice == "auto":
        choice = "bf16" if "bf16" in supported else "fp32"
    if choice not in supported:
        raise StudyError(
            f"config key 'training.precision': '{choice}' is not supported by this {device.type} device, allowed here "
            f"is auto, {', '.join(supported)}"
        )
    return Precision(choice, {"bf16": torch.bfloat16, "fp16": torch.float16}.get(choice))


def supported_precisions(device: torch.device) -> list[str]:
    """What the hardware computes in without emulation: on CUDA bf16 and TF32 from compute capability 8.0."""
    if device.type == "cuda":
        ampere = torch.cuda.get_device_capability(device) >= (8, 0)
        return ["fp32", "fp16", *(["tf32", "bf16"] if ampere else [])]
    return ["fp32", *(["bf16"] if cpu_has_bf16() else [])]


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bf16, by AVX512-BF16 or AMX; PyTorch emulates it elsewhere, slower than fp32."""
    return not cpu_flags(cpuinfo).isdisjoint({"avx512_bf16", "amx_bf16"})


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What the processor can, by the kernel's list; nothing where there is none.

    The names of PyTorch's own queries change between versions.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())


def configure(device: torch.device, precision: Precision, deterministic: bool) -> None:
    """Set the global switches for one run. On CPU only `keep_memory`: its kernels are deterministic as they are."""
    if device.type != "cuda":
        keep_memory()
        return
    torch.cuda.set_device(device)  # where PyTorch puts what names no device
    internal = "tf32" if precision.name == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = internal
    torch.backends.cudnn.conv.fp32_precision = internal  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not deterministic  # picks the fastest kernel by a race, another one each time
    torch.backends.cudnn.deterministic = deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as PyTorch's notes on reproducibility ask
    # Warn only: operations without a deterministic form (max pooling's gradient) are exact where windows don't overlap.
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def keep_memory() -> None:
    """Let this process keep the memory that it frees, for its next step, where the C library is glibc.

    PyTorch caches no memory on CPU. glibc gives freed blocks back to the kernel, which clears every page anew when the
    next step asks for them: tens of thousands of page faults for VGG19 at full width. Values as mallopt(3) has them.
    """
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    mallopt = getattr(libc, "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_MAX, 0)  # no mapping of its own for a large block
        mallopt(M_TRIM_THRESHOLD, -1)  # never cut the heap


def environment(device: torch.device) -> dict[str, Any]:
    """What below PyTorch can change the last bit of a result, and PyTorch's switches for it, for run.json."""
    cuda = device.type == "cuda"
    return {
        "driver": _driver() if cuda else None,
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "determinism": {
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "cudnn_deterministic": torch.backends.cudnn.deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        },
    }


def _driver(version: Path = Path("/sys/module/nvidia/version")) -> str | None:
    """Version of NVIDIA's kernel driver, as the kernel knows it; None where it does not say."""
    try:
        return version.read_text(encoding="ascii").strip()
    except OSError:
        return None
