# Needs:  run.json, history.csv, metrics.json and predictions.parquet of every run; pack.json, audit.json, class weights.
# Makes:  {RESULTS}/tables/     the tables of study.compare.all_tables; case_{case}.md, comparison.html, summary.rst
#         {RESULTS}/figures/    the figures of study.report.all_figures
#         {RESULTS}/ensemble/   predictions.parquet and metrics.json of the vote
#         {RESULTS}/report.html Snakemake's report of all of it
RUN_FILES = every_training(RUN.run)
HISTORY_FILES = every_training(RUN.history)
METRICS_FILES = every_run(RUN.metrics)
PREDICTIONS_FILES = every_run(RUN.predictions)

# What the tables take from the table of recipes beyond what a run knows itself.
SHOWN_RECIPES = {name: dict(vars(recipe)) for name, recipe in RECIPES.items()}
# The schema's words for the columns, their order and their treatments are part of what is compared and shown.
COLUMNS_DIGEST = digest(SCHEMA["$defs"]["recipe"])


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
        class_weights=CLASS_WEIGHTS,
        template=local(str(TEMPLATES / "comparison_page.html.j2")),
    output:
        **tables_of("tables"),
        markdown=expand(f"{TABLES_FOLDER}/case_{{case}}.md", case=CASES),
        page=report(
            f"{TABLES_FOLDER}/comparison.html",
            category="1 Tables",
            caption="../report/comparison.rst",
            labels={"table": "all runs", "form": "page that sorts and filters"},
        ),
    log:
        f"{RESULTS}/logs/tables.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables.tsv"
    conda:
        "../envs/compare.yaml"
    params:
        recipes=SHOWN_RECIPES,
        columns=COLUMNS_DIGEST,
        cases=CAPTIONS,
        metrics=lookup(dpath="metrics", within=config),
        note=shown_note,
        reported_protocol=shown_protocol,
        all_pairs_up_to=lookup(dpath="tables/all_pairs_up_to", within=config),
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
        manifest=ancient(rules.manifest.output.manifest),
        audit=rules.manifest.output.audit,
    output:
        **tables_of("ensemble"),
        predictions=f"{RESULTS}/ensemble/predictions.parquet",
        metrics=f"{RESULTS}/ensemble/metrics.json",
    log:
        f"{RESULTS}/logs/ensemble.log",
    benchmark:
        f"{RESULTS}/benchmarks/ensemble.tsv"
    conda:
        "../envs/compare.yaml"
    params:
        recipes=SHOWN_RECIPES,
        columns=COLUMNS_DIGEST,
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
        manifest=ancient(rules.manifest.output.manifest),
        audit=rules.manifest.output.audit,
        index=rules.pack.output.index,
        arrays=ancient(PACKED),
        class_weights=CLASS_WEIGHTS,
        effects=rules.tables.output.effects,
        subgroups=rules.tables.output.subgroups,
        label_hints=rules.tables.output.label_hints,
    output:
        **all_figures(),
    log:
        f"{RESULTS}/logs/figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures.tsv"
    conda:
        "../envs/compare.yaml"
    threads: config["resources"]["workers"]
    params:
        recipes=SHOWN_RECIPES,
        columns=COLUMNS_DIGEST,
        questions=CAPTIONS,
        metrics=lookup(dpath="metrics", within=config),
        reported_protocol=shown_protocol,
        map=lookup(dpath="tables/map", within=config),
        each_up_to=lookup(dpath="tables/figures_of_each_up_to", within=config),
        code=script_digest("figures"),
    script:
        "../scripts/figures.py"


rule first_page:
    """The first page of the report: the answer, and all that it rests on."""
    input:
        runs=RUN_FILES,
        metrics=METRICS_FILES,
        histories=HISTORY_FILES,
        predictions=PREDICTIONS_FILES,
        conclusions=rules.tables.output.conclusions,
        effects=rules.tables.output.effects,
        leakage=rules.tables.output.leakage,
        subgroups=rules.tables.output.subgroups,
        label_hints=rules.tables.output.label_hints,
        diagnosis=rules.tables.output.diagnosis,
        ensemble=rules.ensemble.output.ensemble,
        template=local(str(TEMPLATES / "first_page.html.j2")),
        class_weights=CLASS_WEIGHTS,
        index=rules.pack.output.index,
        manifest=ancient(rules.manifest.output.manifest),
        audit=rules.manifest.output.audit,
    output:
        report(
            f"{TABLES_FOLDER}/summary.rst",
            category="1 Tables",
            caption="../report/first_page.rst",
            labels={"table": "the first page", "form": "text"},
        ),
    log:
        f"{RESULTS}/logs/first_page.log",
    benchmark:
        f"{RESULTS}/benchmarks/first_page.tsv"
    conda:
        "../envs/compare.yaml"
    params:
        recipes=SHOWN_RECIPES,
        columns=COLUMNS_DIGEST,
        cases=CAPTIONS,
        metrics=lookup(dpath="metrics", within=config),
        note=shown_note,
        reported_protocol=shown_protocol,
        sections=questioned_sections,
        each_up_to=lookup(dpath="tables/figures_of_each_up_to", within=config),
        study=config["study"],
        code=script_digest("first_page"),
    script:
        "../scripts/first_page.py"


rule report:
    """Snakemake's own report of the study: one page that opens offline."""
    input:
        shown=[*rules.tables.output, rules.ensemble.output.ensemble, *rules.figures.output, *rules.first_page.output],
        stylesheet=local(str(FROM_HERE / "report/style.css")),
        loader=local(str(TEMPLATES / "report_page.js")),
        texts=[local(str(path)) for path in sorted((FROM_HERE / "report").glob("*.rst"))],
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    localrule: True
    conda:
        "../envs/compare.yaml"
    params:
        snakefile=os.path.relpath(workflow.main_snakefile),
        config=main_config,
        code=script_digest("report"),
    script:
        "../scripts/report.py"


onsuccess:
    if (PLACED_RESULTS / "report.html").exists():  # a run may end at another target
        print(f"Report: {PLACED_RESULTS}/report.html")
