"""The first page of the report: the answer in words, the comparison figure, the case tables, the data."""

import json
from pathlib import Path

from study.job import logged
from study.recipe import Recipe
from study.runs import load_runs
from study.summary import summary_rst

with logged(snakemake.log[0]):
    given, files = snakemake.params, snakemake.input
    runs = load_runs(
        {name: Recipe(**row) for name, row in given.recipes.items()},
        files.runs, files.metrics, predictions_files=files.predictions,
    )  # fmt: skip
    text = summary_rst(
        runs,
        files.figure,
        {int(case): question for case, question in given.cases.items()},
        given.confidence,
        given.tables["reported"],
        json.loads(Path(files.index).read_text(encoding="utf-8")),
        json.loads(Path(files.audit).read_text(encoding="utf-8")),
    )
    Path(snakemake.output[0]).write_text(text, encoding="utf-8")
