"""Draw every figure of the study."""

from pathlib import Path

from study.compare.all_tables import read_written
from study.compare.comparison import Comparison
from study.compare.runs import load_runs
from study.data import packed
from study.data.class_weights import read_class_weights
from study.data.manifest import read_groups
from study.files import read_json
from study.recipe import column_named, recipes_of
from study.report.all_figures import draw_many, figures_of, keys_of
from study.report.figures.material import Material
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    params, files, out = snakemake.params, snakemake.input, snakemake.output
    recipes = recipes_of(params.recipes)
    groups = read_groups(Path(files.manifest))
    runs = load_runs(recipes, files.runs, files.metrics, files.histories, files.predictions, groups)
    weights = read_class_weights(Path(str(files.class_weights)))
    material = Material(
        Comparison(runs, params.metrics, weights, reported_protocol=params.reported_protocol),
        questions=params.questions,
        pack=read_json(files.index),
        effects=read_written(str(files.effects)),
        subgroups=read_written(str(files.subgroups)),
        label_hints=read_written(str(files.label_hints)),
        packed=packed.load(Path(files.index).parent),
        map=tuple(column_named(name) or name for name in params.map),
    )
    many = []
    for figure in figures_of(recipes, params.each_up_to):
        if keys := keys_of(figure, recipes):
            many += [(figure.name, key, str(path)) for key, path in zip(keys, out[figure.name], strict=True)]
        else:
            figure.draw(material, out[figure.name])
    draw_many(material, many, workers=snakemake.threads)
    say(f"{len(out)} figures in {Path(out[0]).parent}")
