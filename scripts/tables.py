"""The case tables, the comparison of all runs as a table and as a page, and the tests between all pairs."""

from pathlib import Path

from study.compare import comparability
from study.compare.all_tables import every_table
from study.compare.runs import load_runs
from study.compare.tables import case_markdown
from study.data.class_weights import read_class_weights
from study.data.manifest import read_manifest
from study.recipe import recipes_of
from study.report import comparison_page
from study.report.answer import headline
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    given, files = snakemake.params, snakemake.input
    folder = Path(snakemake.output.comparison).parent
    recipes = recipes_of(given.recipes)
    runs = load_runs(recipes, files.runs, files.metrics, files.histories, files.predictions)
    compared = given.compared if given.tables["reported"] else None
    manifest, weights = read_manifest(Path(files.manifest)), read_class_weights(Path(str(files.class_weights)))
    made = every_table(runs, manifest, given.metrics, given.training, weights, compared)
    for name, table in made.items():
        table.to_csv(folder / name, index=False, lineterminator="\n")
    notes = [comparability.note(compared, runs), given.tables["note"]] if compared is not None else []
    for path in map(Path, snakemake.output.markdown):
        case, table = path.stem.removeprefix("case_"), made[f"{path.stem}.csv"]
        question, confidence = given.cases.get(case, ""), given.metrics["confidence"]
        path.write_text(
            case_markdown(table, int(case), question, confidence, list(filter(None, notes))), encoding="utf-8"
        )
    page_text = comparison_page.comparison_html(made["comparison.csv"], study=given.study)
    Path(snakemake.output.page).write_text(page_text, encoding="utf-8")
    say(headline(runs, given.metrics["confidence"]))
