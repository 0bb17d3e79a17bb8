"""What planning knows of the machine, and how trainings share its cores."""

from pathlib import Path

import pytest

from study.machine import has_gpu, memory_mb, threads_of_each


@pytest.mark.parametrize(
    ("cores", "trainings", "memory", "threads"),
    [
        (1, 14, 8_000, 1),
        (2, 14, 24_000, 1),
        (2, 1, 24_000, 2),  # nothing to do beside it
        (8, 2, 24_000, 4),
        (16, 14, 64_000, 2),  # eight at once use all sixteen, fourteen of one thread would leave two idle
        (16, 140, 64_000, 1),
        (16, 14, 16_000, 4),  # five fit: four at once
        (4, 14, 2_000, 4),  # less than one needs: one at a time, as before it is known
    ],
)
def test_trainings_use_the_cores_and_fit_the_memory(cores: int, trainings: int, memory: int, threads: int) -> None:
    assert threads_of_each(cores, trainings, memory, needed=3_000) == threads
    at_once = cores // threads
    assert at_once == 1 or at_once * 3_000 <= memory


def test_a_gpu_is_known_by_its_driver_and_hidden_by_its_variable(tmp_path: Path) -> None:
    driver = tmp_path / "nvidiactl"
    assert not has_gpu((str(driver),), {})
    driver.touch()
    assert has_gpu((str(driver),), {})
    assert has_gpu((str(driver),), {"CUDA_VISIBLE_DEVICES": "1"})
    assert not has_gpu((str(driver),), {"CUDA_VISIBLE_DEVICES": ""})
    assert not has_gpu((str(driver),), {"CUDA_VISIBLE_DEVICES": "-1"})


def test_memory_is_that_of_the_machine() -> None:
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert memory_mb() == pytest.approx(int(total.split()[1]) * 1024 / 1e6, rel=0.01)
