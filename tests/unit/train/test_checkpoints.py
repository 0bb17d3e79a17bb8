import os
import pickle
import time
from pathlib import Path

import pytest
import torch

from study.continuing import checkpoint_name
from study.train.checkpoints import Checkpoints, clear


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run" / "checkpoints"


@pytest.fixture
def run(folder: Path, lines: list[str]) -> Checkpoints:
    return Checkpoints(folder, "recipe+data+code", lines.append)


def state(epoch: int) -> dict[str, object]:
    return {"weights": torch.full((50,), float(epoch)), "history": [{"loss": 0.1 * epoch}], "lr": 1e-3, "best": None}


def save(run: Checkpoints, *epochs: int) -> None:
    for epoch in epochs:
        run.save(epoch, state(epoch))
    run.wait()


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_what_is_saved_comes_back_to_the_last_bit(run):
    model = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    model(torch.randn(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    run.save(7, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "nan": float("nan")})
    run.wait()
    epoch, loaded = run.load()
    assert epoch == 7
    assert loaded["nan"] != loaded["nan"]
    assert loaded["model"]["weight"].stride() == model.weight.stride()
    for key, value in model.state_dict().items():
        assert torch.equal(loaded["model"][key], value)
    assert torch.equal(loaded["optimizer"]["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])


def test_the_newest_is_loaded_and_one_before_it_kept(run, folder):
    save(run, 8, 9, 10, 11)
    assert run.load()[0] == 11
    assert [path.name[-17:] for path in files(folder)] == ["000010.checkpoint", "000011.checkpoint"]


def test_nothing_saved_is_none(run, folder):
    assert run.load() is None
    assert not folder.exists()


def test_without_a_folder_nothing_happens(lines):
    run = Checkpoints(None, "key", lines.append)
    save(run, 1)
    assert run.load() is None
    assert not lines


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "garbage"])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_used(run, folder, lines, damage):
    save(run, 1, 2)
    path = files(folder)[-1]
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    damaged = {"cut": content[:middle], "flipped": content, "empty": b"", "garbage": b"no checkpoint"}[damage]
    path.write_bytes(damaged)
    epoch, loaded = run.load()
    assert epoch == 1
    assert torch.equal(loaded["weights"], state(1)["weights"])
    assert len(lines) == 1
    assert f"checkpoint not used: {path}: damaged, its SHA-256 is not the one it was written with" in lines[0]
    save(run, 2)
    assert run.load()[0] == 2


def test_all_damaged_is_a_new_start(run, folder, lines):
    save(run, 1)
    files(folder)[0].write_bytes(b"")
    assert run.load() is None
    assert len(lines) == 1


def test_another_key_is_never_used(run, folder, lines):
    save(run, 5)
    other = Checkpoints(folder, "recipe+data+changed code", lines.append)
    assert other.load() is None
    assert "checkpoints of another recipe, data set or version of the code are not used" in lines[0]
    save(other, 1, 2, 3)
    assert other.load()[0] == 3
    assert run.load()[0] == 5


def test_another_key_under_this_runs_name_is_never_used(run, folder, lines):
    other = Checkpoints(folder, "other", lines.append)
    save(other, 5)
    files(folder)[0].rename(folder / checkpoint_name(run.key, 5))
    assert run.load() is None
    assert "from another recipe, data set or version of the code" in lines[0]


def test_code_in_a_checkpoint_is_not_run(run, folder, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    save(run, 1)
    path = files(folder)[0]
    run.save(1, {"evil": Evil()})
    run.wait()
    with pytest.raises(pickle.UnpicklingError):
        run.load()
    assert path.exists()
    assert not (tmp_path / "ran").exists()


def test_what_a_kill_left_half_written_is_not_looked_at(run, folder):
    save(run, 1)
    (folder / f".{checkpoint_name(run.key, 2)}.tmp").write_bytes(b"half of it")
    assert run.load()[0] == 1
    clear(folder)
    assert not folder.exists()


def test_the_state_may_change_while_it_is_written(run, monkeypatch):
    """The next epoch trains on while the disk is busy."""
    weights = torch.zeros(50)
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (time.sleep(0.05), real(descriptor)))
    with run:
        run.save(1, {"weights": weights})
        weights += 1
    assert run.load()[1]["weights"].sum() == 0


def test_a_full_disk_is_reported_and_the_run_goes_on(run, folder, lines, monkeypatch):
    save(run, 1)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    save(run, 2)
    monkeypatch.undo()
    (line,) = lines
    assert line.startswith("checkpoint of epoch 2 not written ([Errno 28] No space left on device: ")
    assert line.endswith("000002.checkpoint'); the run goes on, but could not resume here")
    assert [path.name[-17:] for path in files(folder)] == ["000001.checkpoint"]
    assert run.load()[0] == 1


def test_a_folder_that_cannot_be_made_is_reported(tmp_path, lines):
    (tmp_path / "file").write_text("in the way")
    save(Checkpoints(tmp_path / "file" / "checkpoints", "key", lines.append), 1)
    assert "checkpoint of epoch 1 not written" in lines[0]


def test_clear_removes_checkpoints_and_nothing_else(run, folder, lines):
    clear(folder)
    save(run, 1)
    save(Checkpoints(folder, "given up", lines.append), 1)
    (folder / "notes.txt").write_text("mine")
    clear(folder)
    assert [path.name for path in files(folder)] == ["notes.txt"]


def test_one_checkpoint_may_stay(run, folder):
    save(run, 1, 2)
    newest = run.files()[2]
    clear(folder, but=newest)
    assert files(folder) == [newest] and run.load(2)[0] == 2


def test_those_of_a_longer_run_give_way_to_the_shorter_one(run, folder):
    save(run, 9, 10)
    save(run, 1)
    assert list(run.files()) == [1]
    save(run, 2, 3)
    assert list(run.files()) == [3, 2]


def test_a_checkpoint_after_more_epochs_than_the_run_may_take_is_not_used(run, folder, lines):
    save(run, 4, 5)
    assert run.load(4)[0] == 4
    assert "000005.checkpoint: after epoch 5, which is beyond the 4 that the run may take" in lines[0]
    assert run.load(3) is None
