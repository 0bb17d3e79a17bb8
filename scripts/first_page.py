"""The first page of the report: the answer, then everything it rests on."""

from pathlib import Path

from study.compare.all_tables import read_written
from study.compare.comparison import Comparison
from study.compare.questionable import questionable
from study.compare.runs import load_runs
from study.data.class_weights import read_class_weights
from study.data.manifest import read_groups
from study.files import read_json
from study.recipe import recipes_of
from study.report.all_figures import figures_of
from study.report.first_page import FirstPage, as_rst, first_page_html
from study.rule_log import logged

with logged(snakemake.log[0]):
    params, files = snakemake.params, snakemake.input
    recipes = recipes_of(params.recipes)
    groups = read_groups(Path(files.manifest))
    runs = load_runs(recipes, files.runs, files.metrics, files.histories, files.predictions, groups)
    audit = read_json(files.audit)
    page = FirstPage(
        name=params.study,
        questions=params.cases,
        note=params.note,
        conclusions=read_written(str(files.conclusions)),
        ensemble=read_written(str(files.ensemble)),
        effects=read_written(str(files.effects)),
        leakage=read_written(str(files.leakage)),
        subgroups=read_written(str(files.subgroups)),
        label_hints=read_written(str(files.label_hints)),
        diagnosis=read_written(str(files.diagnosis)),
        choices=questionable(params.sections, recipes.values(), audit["source"]["official_splits"] is not None),
        pack=read_json(files.index),
        audit=audit,
        figures=figures_of(recipes, params.each_up_to),
    )
    weights = read_class_weights(Path(str(files.class_weights)))
    comparison = Comparison(runs, params.metrics, class_weights=weights, reported_protocol=params.reported_protocol)
    Path(snakemake.output[0]).write_text(as_rst(first_page_html(comparison, page)), encoding="utf-8")
