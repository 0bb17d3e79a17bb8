"""What figures are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from study.compare.comparison import Comparison
from study.data.packed import PackedData


@dataclass(frozen=True, eq=False)
class Material:
    """All that a figure may need; each takes what it shows. What is left out is for figures that do without.

    Attributes:
        comparison: all runs, with histories and predictions.
        questions: what each case asks, by its number as text.
        pack: the content of pack.json.
        effects: effects.csv as `read_written` gives it; it may be empty.
        subgroups, label_hints: the tables of these names, read in the same way.
        map: the two columns of the table of recipes whose plane is drawn, from bottom to top and from left to right.
    """

    comparison: Comparison
    questions: Mapping[str, str] = field(default_factory=dict)
    pack: Mapping[str, Any] = field(default_factory=dict)
    effects: pd.DataFrame = field(default_factory=pd.DataFrame)
    subgroups: pd.DataFrame = field(default_factory=pd.DataFrame)
    label_hints: pd.DataFrame = field(default_factory=pd.DataFrame)
    packed: PackedData | None = None
    map: tuple[str, str] = ("lr", "batch_size")

    @property
    def class_weights(self) -> pd.DataFrame:
        """Columns class, count, weight."""
        assert self.comparison.class_weights is not None
        return self.comparison.class_weights

    @property
    def data(self) -> PackedData:
        """The packed images."""
        assert self.packed is not None
        return self.packed
