# Needs:  run.json, history.csv, metrics.json and predictions.csv of every run; pack.json, audit.json, class weights.
# Makes:  {RESULTS}/tables/     case_{case}.csv and .md, comparison.csv and .html, pairwise.csv, summary.rst
#         {RESULTS}/figures/    curves, cases, comparison, confusion matrices, recall, lr × batch, classes, samples
#         {RESULTS}/report.html Snakemake's report of all of it

TABLES = f"{RESULTS}/tables"
FIGURES = f"{RESULTS}/figures"
RUN_FILES = every_run(rules.train.output.run)
HISTORY_FILES = every_run(rules.train.output.history)
METRICS_FILES = every_run(rules.evaluate.output.metrics)
PREDICTIONS_FILES = every_run(rules.evaluate.output.predictions)
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
        predictions=PREDICTIONS_FILES,
        template=WORKFLOW / "scripts/study/templates/comparison.html.j2",
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
        tables=lookup(dpath="tables", within=config),
        study=config["study"],
        code=script_digest("tables"),
    script:
        "../scripts/tables.py"


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
                category="4 Confusion",
                caption="../report/figure_confusion.rst",
                labels={"experiment": experiment},
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
        confidence=lookup(dpath="metrics/confidence", within=config),
        reported=lookup(dpath="tables/reported", within=config),
        code=script_digest("figures"),
    script:
        "../scripts/figures.py"


rule summary:
    """The answer in words, with the case tables: the first page of the report."""
    input:
        runs=RUN_FILES,
        metrics=METRICS_FILES,
        predictions=PREDICTIONS_FILES,
        figure=rules.figures.output.comparison,
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
        confidence=lookup(dpath="metrics/confidence", within=config),
        tables=lookup(dpath="tables", within=config),
        code=script_digest("summary"),
    script:
        "../scripts/summary.py"


rule report:
    """Snakemake's own report of the study: one page that opens offline."""
    input:
        shown=[*rules.tables.output, *rules.figures.output, *rules.summary.output],
        stylesheet=WORKFLOW / "report/style.css",
        texts=sorted(str(path) for path in (WORKFLOW / "report").glob("*.rst")),
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
    print(f"Report: {RESULTS}/report.html")
