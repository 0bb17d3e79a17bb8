# Needs:  run.json, history.csv, metrics.json and predictions.csv of every run; pack.json, audit.json, class weights.
# Makes:  {RESULTS}/tables/     case_{case}.csv and .md, comparison.csv and .html, pairwise.csv, effects.csv,
#                               conclusions.csv, leakage.csv, diagnosis.csv, ensemble.csv, summary.rst
#         {RESULTS}/figures/    curves, cases, comparison, confusion matrices, recall, reliability, confused pairs,
#                               lr × batch, classes, samples
#         {RESULTS}/ensemble/   predictions.csv and metrics.json of the vote
#         {RESULTS}/report.html Snakemake's report of all of it

TABLES = f"{RESULTS}/tables"
FIGURES = f"{RESULTS}/figures"
RUN_FILES = every_run(f"{RUN}/run.json")
HISTORY_FILES = every_run(f"{RUN}/history.csv")
METRICS_FILES = every_run(f"{EVALUATED}/metrics.json")
PREDICTIONS_FILES = every_run(f"{EVALUATED}/predictions.csv")
USED_OPTIMIZERS = sorted({recipe.optimizer for recipe in RECIPES.values()})

# What the tables take from the table of recipes beyond what a run knows itself.
SHOWN_RECIPES = {name: dict(vars(recipe)) for name, recipe in RECIPES.items()}


localrules:
    report,


rule tables:
    """The case tables, the comparison of all runs, and the tests between them."""
    input:
        runs=RUN_FILES,
        metrics=METRICS_FILES,
        histories=HISTORY_FILES,
        predictions=PREDICTIONS_FILES,
        # audit.json holds the manifest's hash and is small enough for Snakemake to compare by content
        manifest=ancient(rules.manifest.output.manifest),
        audit=rules.manifest.output.audit,
        class_weights=rules.class_weights.output,
        template=local(str(WORKFLOW / "scripts/study/report/templates/comparison.html.j2")),
    output:
        cases=[
            report(
                f"{TABLES}/case_{case}.csv",
                category="1 Tables",
                caption="../report/case.rst",
                labels={"table": f"case {case}", "form": "table"},
            )
            for case in CASES
        ],
        markdown=expand(f"{TABLES}/case_{{case}}.md", case=CASES),
        comparison=report(
            f"{TABLES}/comparison.csv",
            category="1 Tables",
            caption="../report/comparison.rst",
            labels={"table": "all runs", "form": "table"},
        ),
        page=report(
            f"{TABLES}/comparison.html",
            category="1 Tables",
            caption="../report/comparison.rst",
            labels={"table": "all runs", "form": "page that sorts and filters"},
        ),
        pairwise=report(
            f"{TABLES}/pairwise.csv",
            category="1 Tables",
            caption="../report/pairwise.rst",
            labels={"table": "every pair of recipes", "form": "table"},
        ),
        effects=report(
            f"{TABLES}/effects.csv",
            category="1 Tables",
            caption="../report/effects.rst",
            labels={"table": "effects of single treatments", "form": "table"},
        ),
        conclusions=report(
            f"{TABLES}/conclusions.csv",
            category="1 Tables",
            caption="../report/conclusions.rst",
            labels={"table": "the reported conclusions", "form": "table"},
        ),
        leakage=report(
            f"{TABLES}/leakage.csv",
            category="1 Tables",
            caption="../report/leakage.rst",
            labels={"table": "accuracy with and without copies", "form": "table"},
        ),
        diagnosis=report(
            f"{TABLES}/diagnosis.csv",
            category="1 Tables",
            caption="../report/diagnosis.rst",
            labels={"table": "what happened in each run", "form": "table"},
        ),
    log:
        f"{RESULTS}/logs/tables.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables.tsv"
    conda:
        "../envs/compare.yaml"
    params:
        recipes=SHOWN_RECIPES,
        cases=lookup(dpath="cases", within=config),
        metrics=lookup(dpath="metrics", within=config),
        training=lookup(dpath="training", within=config),
        tables=lookup(dpath="tables", within=config),
        compared=reported_protocol(config),
        study=config["study"],
        code=script_digest("tables"),
    script:
        "../scripts/tables.py"


rule ensemble:
    """A vote of several runs, its members chosen on validation, beside the single recipes."""
    input:
        runs=RUN_FILES,
        metrics=METRICS_FILES,
        predictions=PREDICTIONS_FILES,
    output:
        table=report(
            f"{TABLES}/ensemble.csv",
            category="1 Tables",
            caption="../report/ensemble.rst",
            labels={"table": "ensemble by soft voting", "form": "table"},
        ),
        predictions=f"{RESULTS}/ensemble/predictions.csv",
        metrics=f"{RESULTS}/ensemble/metrics.json",
    log:
        f"{RESULTS}/logs/ensemble.log",
    benchmark:
        f"{RESULTS}/benchmarks/ensemble.tsv"
    conda:
        "../envs/compare.yaml"
    params:
        recipes=SHOWN_RECIPES,
        metrics=lookup(dpath="metrics", within=config),
        code=script_digest("ensemble"),
    script:
        "../scripts/ensemble.py"


rule figures:
    """Every figure of the study."""
    input:
        runs=RUN_FILES,
        histories=HISTORY_FILES,
        metrics=METRICS_FILES,
        predictions=PREDICTIONS_FILES,
        index=rules.pack.output.index,
        arrays=ancient(PACKED),
        class_weights=rules.class_weights.output,
        effects=rules.tables.output.effects,
    output:
        comparison=report(
            f"{FIGURES}/comparison.svg",
            category="2 Comparison",
            caption="../report/figure_comparison.rst",
            labels={"figure": "all recipes", "of": "test accuracy"},
        ),
        recall=report(
            f"{FIGURES}/recall.svg",
            category="2 Comparison",
            caption="../report/figure_recall.rst",
            labels={"figure": "all recipes", "of": "recall per class"},
        ),
        class_recall=report(
            f"{FIGURES}/class_recall.svg",
            category="4 Errors",
            caption="../report/figure_class_recall.rst",
            labels={"figure": "recall with intervals", "experiment": "the best ones"},
        ),
        confused=report(
            f"{FIGURES}/confused_pairs.svg",
            category="4 Errors",
            caption="../report/figure_confused_pairs.rst",
            labels={"figure": "most confused pairs", "experiment": "the best one"},
        ),
        reliability=report(
            f"{FIGURES}/reliability.svg",
            category="4 Errors",
            caption="../report/figure_reliability.rst",
            labels={"figure": "reliability diagram", "experiment": "all"},
        ),
        effects=report(
            f"{FIGURES}/effects.svg",
            category="2 Comparison",
            caption="../report/figure_effects.rst",
            labels={"figure": "all recipes", "of": "effects of single treatments"},
        ),
        lr_batch=[
            report(
                f"{FIGURES}/lr_batch_{optimizer}.svg",
                category="2 Comparison",
                caption="../report/figure_lr_batch.rst",
                labels={"figure": optimizer, "of": "learning rate × batch size"},
            )
            for optimizer in USED_OPTIMIZERS
        ],
        cases=[
            report(
                f"{FIGURES}/case_{case}.svg",
                category="2 Comparison",
                caption="../report/figure_case.rst",
                labels={"figure": f"case {case}", "of": "curves side by side"},
            )
            for case in CASES
        ],
        curves=[
            report(
                f"{FIGURES}/curves_{experiment}.svg",
                category="3 Curves",
                caption="../report/figure_curves.rst",
                labels={"experiment": experiment},
            )
            for experiment in RECIPES
        ],
        confusion=[
            report(
                f"{FIGURES}/confusion_{experiment}.svg",
                category="4 Errors",
                caption="../report/figure_confusion.rst",
                labels={"figure": "confusion matrix", "experiment": experiment},
            )
            for experiment in RECIPES
        ],
        class_counts=report(
            f"{FIGURES}/class_counts.svg",
            category="5 Data",
            caption="../report/figure_classes.rst",
            labels={"figure": "images and weight per class"},
        ),
        samples=report(
            f"{FIGURES}/samples.svg",
            category="5 Data",
            caption="../report/figure_samples.rst",
            labels={"figure": "sample images per class"},
        ),
    log:
        f"{RESULTS}/logs/figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures.tsv"
    conda:
        "../envs/compare.yaml"
    params:
        recipes=SHOWN_RECIPES,
        cases=CASES,
        questions=lookup(dpath="cases", within=config),
        optimizers=USED_OPTIMIZERS,
        metrics=lookup(dpath="metrics", within=config),
        reported=lookup(dpath="tables/reported", within=config),
        code=script_digest("figures"),
    script:
        "../scripts/figures.py"


rule summary:
    """The first page of the report: the answer, and all that it rests on."""
    input:
        runs=RUN_FILES,
        metrics=METRICS_FILES,
        predictions=PREDICTIONS_FILES,
        page=rules.tables.output.page,
        conclusions=rules.tables.output.conclusions,
        effects_table=rules.tables.output.effects,
        leakage=rules.tables.output.leakage,
        diagnosis=rules.tables.output.diagnosis,
        ensemble=rules.ensemble.output.table,
        comparison=rules.figures.output.comparison,
        effects=rules.figures.output.effects,
        cases=rules.figures.output.cases,
        curves=rules.figures.output.curves,
        lr_batch=rules.figures.output.lr_batch,
        confusion=rules.figures.output.confusion,
        class_recall=rules.figures.output.class_recall,
        confused=rules.figures.output.confused,
        reliability=rules.figures.output.reliability,
        recall=rules.figures.output.recall,
        class_counts=rules.figures.output.class_counts,
        samples=rules.figures.output.samples,
        template=local(str(WORKFLOW / "scripts/study/report/templates/landing.html.j2")),
        index=rules.pack.output.index,
        audit=rules.manifest.output.audit,
    output:
        report(
            f"{TABLES}/summary.rst",
            category="1 Tables",
            caption="../report/summary.rst",
            labels={"table": "the first page", "form": "text"},
        ),
    log:
        f"{RESULTS}/logs/summary.log",
    benchmark:
        f"{RESULTS}/benchmarks/summary.tsv"
    conda:
        "../envs/compare.yaml"
    params:
        recipes=SHOWN_RECIPES,
        cases=lookup(dpath="cases", within=config),
        metrics=lookup(dpath="metrics", within=config),
        tables=lookup(dpath="tables", within=config),
        compared=reported_protocol(config),
        sections=questioned_sections,
        study=config["study"],
        code=script_digest("summary"),
    script:
        "../scripts/summary.py"


rule report:
    """Snakemake's own report of the study: one page that opens offline."""
    input:
        shown=[*rules.tables.output, rules.ensemble.output.table, *rules.figures.output, *rules.summary.output],
        stylesheet=local(str(WORKFLOW / "report/style.css")),
        texts=[local(str(path)) for path in sorted((WORKFLOW / "report").glob("*.rst"))],
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    conda:
        "../envs/compare.yaml"
    params:
        snakefile=workflow.main_snakefile,
        code=script_digest("report"),
    script:
        "../scripts/report.py"


onsuccess:
    if Path(f"{RESULTS}/report.html").exists():  # a run may end at another target
        print(f"Report: {RESULTS}/report.html")
