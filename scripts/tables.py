"""The case tables, the comparison of all runs as a table and as a page, and the tests between pairs of recipes."""

from pathlib import Path

from study.compare import comparability
from study.compare.all_tables import all_tables
from study.compare.comparison import Comparison
from study.compare.runs import load_runs
from study.data.class_weights import read_class_weights
from study.data.manifest import groups_of, read_manifest
from study.files import write_table
from study.recipe import recipes_of
from study.report.answer import headline
from study.report.case_text import case_markdown
from study.report.comparison_page import comparison_html
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    params, files = snakemake.params, snakemake.input
    manifest = read_manifest(Path(files.manifest))
    groups = groups_of(manifest)
    comparison = Comparison(
        load_runs(recipes_of(params.recipes), files.runs, files.metrics, files.histories, files.predictions, groups),
        params.metrics,
        read_class_weights(Path(str(files.class_weights))),
        manifest,
        params.reported_protocol,
        params.all_pairs_up_to,
    )
    folder = Path(snakemake.output.comparison).parent
    tables = all_tables(comparison, rule="tables")
    for name, table in tables.items():
        write_table(table, folder / name)
    shows_reported = comparison.reported_protocol is not None
    notes = [note for note in (comparability.note(comparison), params.note) if note and shows_reported]
    for path in map(Path, snakemake.output.markdown):
        case, table = path.stem.removeprefix("case_"), tables[f"{path.stem}.csv"]
        text = case_markdown(
            table, int(case), params.cases.get(case, ""), comparison.confidence, notes, comparison.units is not None
        )
        path.write_text(text, encoding="utf-8")
    page = comparison_html(tables["comparison.csv"], study=params.study)
    Path(snakemake.output.page).write_text(page, encoding="utf-8")
    say(headline(comparison))
