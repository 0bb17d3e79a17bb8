import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from study.errors import StudyError
from study.schema import choices
from study.train import devices

GPUS = ["GPU-aaaa", "GPU-bbbb"]

fork = multiprocessing.get_context("fork")  # children inherit the stand-ins below


def fake_gpus(monkeypatch: pytest.MonkeyPatch, gpus: list[str], folder: Path | None = None) -> None:
    monkeypatch.setattr(devices, "visible_gpus", lambda: gpus)
    monkeypatch.setattr(devices, "POLL_SECONDS", 0.01)
    if folder:
        monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(folder))


class TestSelectDevice:
    def test_without_a_gpu(self, monkeypatch):
        fake_gpus(monkeypatch, [])
        assert devices.select_device("auto") == devices.select_device("cpu") == torch.device("cpu")

    def test_with_gpus(self, monkeypatch):
        fake_gpus(monkeypatch, GPUS)
        assert devices.select_device("auto") == devices.select_device("cuda") == torch.device("cuda")
        assert devices.select_device("cuda:1") == torch.device("cuda", 1)
        assert devices.select_device("cpu") == torch.device("cpu")

    def test_cuda_without_cuda(self, monkeypatch):
        fake_gpus(monkeypatch, [])
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
        message = r"'training.device': found 'cuda', but PyTorch .* sees no CUDA device.*'5'.*set it to 'auto' or 'cpu'"
        with pytest.raises(StudyError, match=message):
            devices.select_device("cuda")

    def test_index_out_of_range(self, monkeypatch):
        fake_gpus(monkeypatch, GPUS)
        with pytest.raises(StudyError, match="found 'cuda:2', allowed here is cuda:0 to cuda:1"):
            devices.select_device("cuda:2")


class TestKeepMemory:
    """In a process of its own: the switches hold until it ends."""

    SCRIPT = """
import resource, sys
from study.train import devices
if sys.argv[1] == "kept":
    devices.keep_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(64 << 20)
    del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""

    def faults(self, how: str) -> int:
        """Page faults of 64 MiB that were allocated and freed before."""
        command = [sys.executable, "-c", self.SCRIPT, how]
        environment = os.environ | {"PYTHONPATH": str(Path(devices.__file__).parents[2])}
        run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        return int(run.stdout)

    @pytest.mark.skipif("glibc" not in platform.libc_ver(), reason="the C library is not glibc")
    def test_freed_memory_is_used_again(self):
        pages = (64 << 20) // os.sysconf("SC_PAGE_SIZE")
        assert self.faults("kept") < pages / 100
        assert self.faults("given back") > pages / 2

    def test_another_c_library(self, monkeypatch):
        monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: object())
        devices.keep_memory()


class TestPrecision:
    cpu = torch.device("cpu")

    def cpuinfo(self, path: Path, flags: str) -> Path:
        path.write_text(f"processor : 0\nflags\t\t: fpu sse avx2 {flags}\nprocessor : 1\n")
        return path

    @pytest.mark.parametrize(
        ("flags", "has"), [("avx512_bf16", True), ("amx_bf16 amx_tile", True), ("avx512f avx512_vnni", False)]
    )
    def test_bf16_by_the_kernels_list(self, tmp_path, flags, has):
        assert devices.cpu_has_bf16(self.cpuinfo(tmp_path / "cpuinfo", flags)) is has

    def test_no_bf16_where_there_is_no_list(self, tmp_path):
        assert not devices.cpu_has_bf16(tmp_path / "absent")

    @pytest.mark.parametrize(("has", "name", "dtype"), [(True, "bf16", torch.bfloat16), (False, "fp32", None)])
    def test_auto_on_cpu(self, monkeypatch, has, name, dtype):
        monkeypatch.setattr(devices, "cpu_has_bf16", lambda: has)
        assert devices.select_precision("auto", self.cpu) == devices.Precision(name, dtype)

    @pytest.mark.parametrize(
        ("capability", "expected"), [((7, 5), ["fp32", "fp16"]), ((8, 0), ["fp32", "fp16", "tf32", "bf16"])]
    )
    def test_cuda_by_compute_capability(self, monkeypatch, capability, expected):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        assert devices.supported_precisions(torch.device("cuda", 0)) == expected

    @pytest.mark.parametrize("choice", ["tf32", "fp16", "bf16"])
    def test_what_the_device_does_not_compute_in(self, monkeypatch, choice):
        monkeypatch.setattr(devices, "cpu_has_bf16", lambda: False)
        message = f"'training.precision': '{choice}' is not supported by this cpu device, allowed here is auto, fp32$"
        with pytest.raises(StudyError, match=message):
            devices.select_precision(choice, self.cpu)

    def test_everything_a_device_computes_in_has_a_name_in_the_configuration(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        monkeypatch.setattr(devices, "cpu_has_bf16", lambda: True)
        names = {name for kind in ("cpu", "cuda") for name in devices.supported_precisions(torch.device(kind))}
        assert names | {"auto"} == set(choices("training.precision"))

    def test_autocast(self):
        product = torch.nn.Linear(2, 2)
        for precision, dtype in (("bf16", torch.bfloat16), ("fp32", None)):
            with devices.Precision(precision, dtype).autocast(self.cpu):
                assert product(torch.ones(1, 2)).dtype == (dtype or torch.float32)


class TestFits:
    """Whether the packed images are kept on the device."""

    cpu, cuda = torch.device("cpu"), torch.device("cuda", 0)

    def test_half_of_the_hosts_free_memory(self, monkeypatch):
        monkeypatch.setattr(devices, "free_memory", lambda: 1000)
        assert devices.fits(500, self.cpu)
        assert not devices.fits(501, self.cpu)

    @pytest.mark.parametrize(("slots", "most"), [(1, 250), (2, 125)])
    def test_a_quarter_of_the_gpus_for_all_jobs_on_it(self, monkeypatch, slots, most):
        monkeypatch.setattr(devices, "free_memory", lambda: 10_000)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
        assert devices.fits(most, self.cuda, slots)
        assert not devices.fits(most + 1, self.cuda, slots)

    def test_a_copy_to_a_gpu_passes_through_the_host(self, monkeypatch):
        monkeypatch.setattr(devices, "free_memory", lambda: 100)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
        assert not devices.fits(51, self.cuda)

    def test_free_memory_by_the_kernels_count(self, tmp_path):
        (tmp_path / "meminfo").write_text("MemTotal:  900 kB\nMemFree:  100 kB\nMemAvailable:     600 kB\n")
        assert devices.free_memory(tmp_path / "meminfo") == 600 * 1024
        total = devices.free_memory(tmp_path / "absent")
        assert total == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        assert 0 < devices.free_memory() <= total


def hold(log: Path, seconds: float, choice: str = "cuda", slots: int = 1) -> None:
    """A job: take a lease, note it, keep it, note its end."""

    def note(text: str) -> None:
        with log.open("a") as file:  # appending a short line is atomic
            file.write(f"{time.monotonic():.6f} {os.getpid()} {text}\n")

    with devices.leased(choice, slots, note) as device:
        note(f"begin {device}")
        time.sleep(seconds)
        note(f"end {device}")


def start(job: Callable[..., None], *arguments: object) -> multiprocessing.Process:
    process = fork.Process(target=job, args=arguments)
    process.start()
    return process


def wait_for(log: Path, text: str, count: int = 1) -> None:
    deadline = time.monotonic() + 20
    while not (log.exists() and log.read_text().count(text) >= count):
        assert time.monotonic() < deadline, f"no '{text}' in {log.read_text() if log.exists() else 'nothing'}"
        time.sleep(0.005)


def most_at_once(log: Path) -> dict[str, int]:
    """Per device, the largest number of jobs that held it at the same time."""
    held: dict[str, int] = {}
    most: dict[str, int] = {}
    for _, _, what, *device in sorted(line.split() for line in log.read_text().splitlines()):
        if what in ("begin", "end"):
            held[device[0]] = held.get(device[0], 0) + (1 if what == "begin" else -1)
            most[device[0]] = max(most.get(device[0], 0), held[device[0]])
    return most


class TestLease:
    def test_nothing_happens_without_a_gpu(self, monkeypatch, tmp_path):
        fake_gpus(monkeypatch, [], tmp_path)
        lines: list[str] = []
        with devices.leased("auto", 1, lines.append) as device:
            assert device == torch.device("cpu")
        assert not lines and not list(tmp_path.iterdir())

    @pytest.mark.parametrize(("gpus", "slots"), [(2, 1), (1, 3), (2, 2)])
    def test_many_jobs_share_the_gpus_without_overlap(self, monkeypatch, tmp_path, gpus, slots):
        fake_gpus(monkeypatch, GPUS[:gpus], tmp_path)
        log = tmp_path / "log"
        jobs = [start(hold, log, 0.3, "cuda", slots) for _ in range(10)]  # long enough to meet
        for job in jobs:
            job.join(30)
            assert job.exitcode == 0
        assert log.read_text().count(" end ") == 10
        most = most_at_once(log)
        assert set(most) == {f"cuda:{index}" for index in range(gpus)}
        assert max(most.values()) <= slots

    @pytest.mark.parametrize("slots", [1, 2])
    def test_a_killed_job_frees_its_lease_and_the_next_says_that_it_waits(self, monkeypatch, tmp_path, slots):
        fake_gpus(monkeypatch, GPUS, tmp_path)
        log = tmp_path / "log"
        jobs = [start(hold, log, 60, "cuda", slots) for _ in range(2 * slots)]
        wait_for(log, "begin", 2 * slots)
        assert most_at_once(log) == {"cuda:0": slots, "cuda:1": slots}
        waiting = start(hold, log, 0, "cuda", slots)
        wait_for(log, f"all 2 GPUs are taken by other jobs ({slots} at a time on each); waiting until one ends")
        assert log.read_text().count("begin") == 2 * slots
        os.kill(jobs[1].pid, signal.SIGKILL)
        waiting.join(20)
        assert waiting.exitcode == 0
        for job in jobs:
            os.kill(job.pid, signal.SIGKILL)
            job.join(20)

    def test_kills_at_random_instants_leave_nothing_locked(self, monkeypatch, tmp_path):
        fake_gpus(monkeypatch, GPUS, tmp_path)
        log = tmp_path / "log"
        for attempt in range(8):
            jobs = [start(hold, log, 60) for _ in range(3)]
            time.sleep(0.003 * attempt)
            for job in jobs:
                os.kill(job.pid, signal.SIGKILL)
            for job in jobs:
                job.join(20)
        lines: list[str] = []
        with devices.leased("cuda:0", 1, lines.append), devices.leased("cuda:1", 1, lines.append):
            assert [line.split(",")[0] for line in lines] == ["GPU 0 (GPU-aaaa)", "GPU 1 (GPU-bbbb)"]

    def test_a_named_gpu_is_waited_for_even_if_another_is_free(self, monkeypatch, tmp_path):
        fake_gpus(monkeypatch, GPUS, tmp_path)
        log = tmp_path / "log"
        first = start(hold, log, 60, "cuda:1")
        wait_for(log, "begin cuda:1")
        second = start(hold, log, 0, "cuda:1")
        wait_for(log, "GPU 1 is taken by other jobs")
        os.kill(first.pid, signal.SIGKILL)
        second.join(20)
        first.join(20)
        assert log.read_text().count("begin cuda:1") == 2

    def test_jobs_that_see_different_gpus_agree_on_which_is_which(self, monkeypatch, tmp_path):
        """A scheduler that gives each job one GPU makes it index 0 in every job."""
        log = tmp_path / "log"
        fake_gpus(monkeypatch, [GPUS[1]], tmp_path)
        first = start(hold, log, 60)
        wait_for(log, "begin cuda:0")
        fake_gpus(monkeypatch, GPUS, tmp_path)
        with devices.leased("cuda", 1, lambda line: None) as device:
            assert device == torch.device("cuda", 0)
            fake_gpus(monkeypatch, [GPUS[1]], tmp_path)
            waiting = start(hold, log, 0)
            wait_for(log, "GPU 0 is taken")
        os.kill(first.pid, signal.SIGKILL)
        waiting.join(20)
        first.join(20)
        assert waiting.exitcode == 0

    def test_waiting_for_a_lease_ends_with_ctrl_c(self, monkeypatch, tmp_path):
        fake_gpus(monkeypatch, GPUS[:1], tmp_path)
        log = tmp_path / "log"
        first = start(hold, log, 60)
        wait_for(log, "begin")
        second = start(hold, log, 0)
        wait_for(log, "GPU 0 is taken")
        os.kill(second.pid, signal.SIGINT)
        second.join(20)
        assert second.exitcode not in (0, None)
        os.kill(first.pid, signal.SIGKILL)
        first.join(20)


def test_every_job_of_a_user_uses_the_same_folder_and_nobody_else_can_write_to_it(monkeypatch, tmp_path):
    fake_gpus(monkeypatch, GPUS, tmp_path)
    with devices.leased("cuda", 1, lambda line: None):
        (folder,) = tmp_path.iterdir()
        assert folder.name == f"gpu-leases-{os.getuid()}"
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_real_gpus_have_an_identity():
    assert len(set(devices.visible_gpus())) == torch.cuda.device_count()
