"""The case tables, the comparison of all runs as a table and as a page, and the tests between all pairs."""

from pathlib import Path

from study import page, tables
from study.conclusions import conclusions
from study.job import logged
from study.recipe import Recipe
from study.runs import load_runs
from study.summary import headline

with logged(snakemake.log[0]) as say:
    given, files, out = snakemake.params, snakemake.input, snakemake.output
    confidence, samples = given.metrics["confidence"], given.metrics["bootstrap_samples"]
    recipes = {name: Recipe(**row) for name, row in given.recipes.items()}
    runs = load_runs(recipes, files.runs, files.metrics, predictions_files=files.predictions)
    for csv, markdown in zip(out.cases, out.markdown, strict=True):
        case = int(Path(csv).stem.removeprefix("case_"))
        table = tables.case_table(runs, case, confidence, samples, given.tables["reported"])
        table.to_csv(csv, index=False, lineterminator="\n")
        text = tables.case_markdown(table, case, given.cases.get(str(case), ""), confidence)
        Path(markdown).write_text(text, encoding="utf-8")
    comparison = tables.comparison(runs, confidence, samples, given.tables["reported"])
    comparison.to_csv(out.comparison, index=False, lineterminator="\n")
    Path(out.page).write_text(page.comparison_html(comparison, study=given.study), encoding="utf-8")
    tables.pairwise(runs, confidence, samples).to_csv(out.pairwise, index=False, lineterminator="\n")
    conclusions(runs, confidence, samples).to_csv(out.conclusions, index=False, lineterminator="\n")
    say(headline(runs, confidence))
