"""What was drawn for N images in a row: records of tensors that are cut and moved as one."""

from dataclasses import fields
from typing import Any, Self

import torch


class Rows:
    """A frozen dataclass whose fields hold N rows: tensors, other such records, or None."""

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """The same on the device."""
        return type(self)(
            *(None if part is None else part.to(device, non_blocking=non_blocking) for part in self._parts())
        )

    def __getitem__(self, rows: slice) -> Self:
        return type(self)(*(None if part is None else part[rows] for part in self._parts()))

    def _parts(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]
