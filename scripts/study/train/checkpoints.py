"""Saving the state of a run so that it survives anything, and finding the newest that is whole."""

import hashlib
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from study.continuing import checkpoint_files, checkpoint_name
from study.errors import StudyError
from study.files import write_atomically

KEPT = 2  # the newest and the one before it
DIGEST_BYTES = hashlib.sha256().digest_size


class Checkpoints:
    """The checkpoints of one run in a folder.

    Each file is the SHA-256 of the rest followed by what `torch.save` wrote. The two newest are kept. Hashing and
    writing go on in a thread while the next epoch is trained; as a context manager, it ends once all is written.

    Args:
        folder: created with the first checkpoint; None saves and finds nothing.
        key: stands for recipe, data, code and settings, see `study.continuing`. A checkpoint with another key is never
            used.
        report: takes a line for the log.
    """

    def __init__(self, folder: Path | None, key: str, report: Callable[[str], None]) -> None:
        self.folder = folder
        self.key = key
        self.report = report
        self._writer: threading.Thread | None = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self.wait()

    def wait(self) -> None:
        """Until what was saved is on the disk."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Save the state after an epoch: tensors, numbers, strings, and lists and dicts of them.

        The state may change as soon as this returns. A disk that is full or read-only is reported and does not end
        the run.
        """
        if self.folder is None:
            return
        buffer = io.BytesIO()
        torch.save({"key": self.key, "epoch": epoch, "state": state}, buffer)
        self.wait()
        self._writer = threading.Thread(target=self._write, args=(self.folder, epoch, buffer.getbuffer()))
        self._writer.start()

    def _write(self, folder: Path, epoch: int, content: memoryview) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / checkpoint_name(self.key, epoch), hashlib.sha256(content).digest(), content)
            files = self.files()  # those after a later epoch are of a run that was to be longer
            for other in files.keys() - [number for number in files if number <= epoch][:KEPT]:
                files[other].unlink(missing_ok=True)
        except OSError as error:
            self.report(
                f"checkpoint of epoch {epoch} not written ({error}); the run goes on, but could not resume here"
            )

    def load(self, max_epochs: int | None = None) -> tuple[int, dict[str, Any]] | None:
        """Epoch and state of the newest checkpoint that is whole and of this run, on the CPU; None without one.

        Args:
            max_epochs: a checkpoint after more than these is not used; None for no limit.
        """
        files = self.files()
        others = self.folder is not None and self.folder.is_dir() and any(self.folder.iterdir())
        if others and not files:
            self.report(f"{self.folder}: checkpoints of another recipe, data set or version of the code are not used")
        for epoch, path in files.items():
            if max_epochs is not None and epoch > max_epochs:
                self.report(f"{path}: after epoch {epoch}, which is beyond the {max_epochs} that the run may take")
                continue
            try:
                return self._read(path)
            except (OSError, StudyError) as error:
                self.report(f"checkpoint not used: {error}")
        return None

    def _read(self, path: Path) -> tuple[int, dict[str, Any]]:
        content = memoryview(path.read_bytes())
        if hashlib.sha256(content[DIGEST_BYTES:]).digest() != content[:DIGEST_BYTES]:
            raise StudyError(f"{path}: damaged, its SHA-256 is not the one it was written with")
        saved = torch.load(io.BytesIO(content[DIGEST_BYTES:]), map_location="cpu", weights_only=True)
        if saved["key"] != self.key:
            raise StudyError(f"{path}: from another recipe, data set or version of the code")
        return saved["epoch"], saved["state"]

    def files(self) -> dict[int, Path]:
        """Those of this run by their epochs, the newest first."""
        return checkpoint_files(self.folder, self.key) if self.folder else {}


def clear(folder: Path, but: Path | None = None) -> None:
    """Remove all checkpoints, of this run and of others that were given up, as the run is done; then the folder.

    Args:
        but: the one that stays.
    """
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name.endswith((".checkpoint", ".tmp")) and path != but:
            path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
