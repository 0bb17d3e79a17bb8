"""The first page of the report: the answer, then everything it rests on."""

import json
from pathlib import Path

import pandas as pd

from study.compare.questionable import questionable
from study.compare.runs import load_runs
from study.recipe import recipes_of
from study.report.first_page import FIGURES, Study, as_rst, landing_html
from study.rule_log import logged

with logged(snakemake.log[0]):
    given, files = snakemake.params, snakemake.input
    recipes = recipes_of(given.recipes)
    runs = load_runs(recipes, files.runs, files.metrics, predictions_files=files.predictions)
    audit = json.loads(Path(files.audit).read_text(encoding="utf-8"))
    study = Study(
        name=given.study,
        questions={int(case): question for case, question in given.cases.items()},
        confidence=given.metrics["confidence"],
        samples=given.metrics["bootstrap_samples"],
        compared=given.compared if given.tables["reported"] else None,
        note=given.tables["note"],
        figures={name: [files[name]] if isinstance(files[name], str) else files[name] for name in FIGURES},
        comparison=Path(files.page).read_text(encoding="utf-8"),
        conclusions=pd.read_csv(str(files.conclusions)),
        ensemble=pd.read_csv(str(files.ensemble)),
        effects=pd.read_csv(str(files.effects_table), keep_default_na=False, na_values=[""]),
        leakage=pd.read_csv(str(files.leakage)),
        diagnosis=pd.read_csv(str(files.diagnosis)),
        choices=questionable(given.sections, recipes.values(), audit["source"]["official_splits"] is not None),
        pack=json.loads(Path(files.index).read_text(encoding="utf-8")),
        audit=audit,
    )
    Path(snakemake.output[0]).write_text(as_rst(landing_html(runs, study)), encoding="utf-8")
