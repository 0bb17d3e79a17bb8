"""Every table of a study, declared once: what rules write, what the report lists, what `verify` makes again.

Loads nothing heavy until a table is made, as planning (`snakemake -n`) comes here. Entry points:
    TABLES                                                 the declarations, in the order of the report's menu
    all_tables(comparison) -> {file: DataFrame}            every table under the name of its file
    read_written(path) -> DataFrame                        one that was written
"""

import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.files import read_table

if TYPE_CHECKING:
    import pandas as pd

    from study.compare.comparison import Comparison


@dataclass(frozen=True)
class Table:
    """One table, or one for each case.

    Attributes:
        name: of the rule's output.
        maker: the function, by its dotted path; takes the comparison (and the case), returns a DataFrame.
        label: in the menu of the report; "{case}" stands for the case.
        caption: file in report/.
        rule: the rule that writes it.
        per_case: whether there is one for each case.
        text: its columns of text, for a table that is read again.
    """

    name: str
    maker: str
    label: str
    caption: str
    rule: str = "tables"
    per_case: bool = False
    text: tuple[str, ...] = ()

    def file(self, case: int | str = "") -> str:
        """Name of the file below {results}/tables."""
        return f"case_{case}.csv" if self.per_case else f"{self.name}.csv"

    def make(self, comparison: "Comparison", *case: int) -> "pd.DataFrame":
        """The table, as it is written."""
        table: pd.DataFrame = pkgutil.resolve_name(self.maker)(comparison, *case)
        return table


TABLES = (
    Table("cases", "study.compare.case_table.case_table", "case {case}", "case.rst", per_case=True),
    Table("comparison", "study.compare.run_table.run_table", "all runs", "comparison.rst"),
    Table("pairwise", "study.compare.comparison.pairwise", "pairs of recipes", "pairwise.rst"),
    Table(
        "power", "study.compare.power.power_table", "seeds and images needed", "power.rst",
        text=("question", "answer", "speaks_of"),
    ),
    Table(
        "effects", "study.compare.effects.effects", "effects of single treatments", "effects.rst",
        text=("treatment", "change", "experiment_from", "experiment_to", "verdict", "failed"),
    ),
    Table(
        "conclusions", "study.compare.conclusions.conclusions", "the reported conclusions", "conclusions.rst",
        text=("claim", "kind", "experiment_a", "experiment_b", "verdict", "sentence"),
    ),
    Table(
        "leakage", "study.compare.leakage.leakage", "accuracy with and without copies", "leakage.rst",
        text=("experiment", "split"),
    ),
    Table(
        "subgroups", "study.compare.subgroups.subgroups", "scores by subgroup", "subgroups.rst",
        text=("experiment", "seed", "column", "value", "verdict", "left_out"),
    ),
    Table(
        "label_hints", "study.compare.label_hints.label_hints", "labels that may be wrong", "label_hints.rst",
        text=(
            "image_id", "split", "label", "recipes_say", "answers", "group", "duplicate_group",
            "in_training",
        ),
    ),
    Table(
        "diagnosis", "study.compare.diagnosis.diagnoses", "what happened in each run", "diagnosis.rst",
        text=("experiment", "outcome", "what_happened"),
    ),
    Table("cost", "study.compare.cost.costs", "accuracy against cost", "cost.rst"),
    Table(
        "ensemble", "study.compare.ensemble.ensemble_table", "ensemble by soft voting", "ensemble.rst",
        rule="ensemble", text=("name", "role"),
    ),
)  # fmt: skip


def all_tables(comparison: "Comparison", rule: str = "") -> "dict[str, pd.DataFrame]":
    """Every table by the name of its file, to be written with `study.files.write_table`.

    Args:
        comparison: with histories, manifest, class weights and the section training.
        rule: only the tables that this rule writes.
    """
    tables = {}
    for table in TABLES:
        if rule in ("", table.rule):
            for case in comparison.cases if table.per_case else [None]:
                arguments = [] if case is None else [case]
                tables[table.file(*arguments)] = table.make(comparison, *arguments)
    return tables


def read_written(path: str | Path) -> "pd.DataFrame":
    """A table that a rule wrote, its columns of text as text and the others as numbers."""
    table = next(table for table in TABLES if table.name == Path(path).stem)
    return read_table(path, table.text)
