# Needs:  data.source of the configuration (images in any form of study.data.sources, or the embedded digits).
# Makes:  {RESULTS}/data/manifest.csv     every image: label, hash, split, copies (exact, near), kept or not and why
#         {RESULTS}/data/audit.json       what the audit counted, and the manifest's hash
#         {RESULTS}/data/{split}.npy      packed uint8 images, one memory-mappable array per split
#         {RESULTS}/data/pack.json        classes, counts and hashes of the arrays
#         {RESULTS}/data/class_weights.csv, and class_weights_{scheme}.csv, which trainings with a weighted loss read
#         resources/weights/*.pth         pretrained weights, where the configuration asks for them

CLASS_WEIGHTS = f"{RESULTS}/data/class_weights.csv"
PACKED = expand(f"{RESULTS}/data/{{split}}.{{kind}}", split=SPLITS, kind=["npy", "csv"])

SOURCE_HAS_A_RULE = has_a_rule(SOURCE)
# ancient: what counts of images that were placed is their identity, not their time stamp
SOURCE_FILES = source_files if SOURCE_HAS_A_RULE else ancient(source_files)

# A rule only while the file is absent: as the output of a rule, images placed by hand would be Snakemake's to delete.
if SOURCE != DIGITS and not Path(SOURCE).exists() and not SOURCE_HAS_A_RULE:

    rule fetch_data:
        """Download the data set, or say how to get it."""
        output:
            placed(SOURCE),
        log:
            f"{RESULTS}/logs/fetch_data.log",
        benchmark:
            f"{RESULTS}/benchmarks/fetch_data.tsv"
        localrule: True
        conda:
            "../envs/data.yaml"
        params:
            url=lookup(dpath="data/url", within=config),
            sha256=lookup(dpath="data/sha256", within=config),
        script:
            "../scripts/fetch_data.py"


if MISSING_WEIGHTS := missing_weights():

    rule fetch_weights:
        """Download torchvision's pretrained weights once, or say how to get them."""
        output:
            placed("{weights}"),
        log:
            f"{RESULTS}/logs/fetch_weights/{{weights}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/fetch_weights/{{weights}}.tsv"
        wildcard_constraints:
            weights="|".join(map(re.escape, MISSING_WEIGHTS)),
        localrule: True
        conda:
            "../envs/train.yaml"
        params:
            model=missing_model,
            url=lookup(dpath="model/weights_url", within=config),
        script:
            "../scripts/fetch_weights.py"


rule manifest:
    """Every image of the source: audited, with its split."""
    input:
        source=SOURCE_FILES,
    output:
        manifest=f"{RESULTS}/data/manifest.csv",
        audit=f"{RESULTS}/data/audit.json",
    log:
        f"{RESULTS}/logs/manifest.log",
    benchmark:
        f"{RESULTS}/benchmarks/manifest.tsv"
    conda:
        "../envs/data.yaml"
    threads: config["resources"]["workers"]
    resources:
        mem_mb=4000,
        # every pair of images is compared: hours for a million
        runtime=600 if config["data"].get("near_duplicates") else 60,
    params:
        data=data_settings,
        split=lookup(dpath="split", within=config),
        source=source_identity,
        code=script_digest("manifest"),
    script:
        "../scripts/manifest.py"


rule pack:
    """The kept images, resized, as one uint8 array per split."""
    input:
        source=SOURCE_FILES,
        # audit.json holds the manifest's hash and is small enough for Snakemake to compare by content
        manifest=ancient(rules.manifest.output.manifest),
        audit=rules.manifest.output.audit,
    output:
        PACKED,
        index=f"{RESULTS}/data/pack.json",
    log:
        f"{RESULTS}/logs/pack.log",
    benchmark:
        f"{RESULTS}/benchmarks/pack.tsv"
    conda:
        "../envs/data.yaml"
    threads: config["resources"]["workers"]
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        data=data_settings,
        code=script_digest("pack"),
    script:
        "../scripts/pack.py"


rule class_weights:
    """Weight of each class in the loss, from the training images alone: the study's, and those of recipes by scheme."""
    input:
        index=rules.pack.output.index,
    output:
        f"{RESULTS}/data/class_weights{{scheme}}.csv",
    log:
        f"{RESULTS}/logs/class_weights{{scheme}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/class_weights{{scheme}}.tsv"
    wildcard_constraints:
        # in brackets: an empty constraint, where no recipe has a scheme, would be none at all
        scheme=f"(?:{'|'.join(map(re.escape, CLASS_WEIGHT_SCHEMES))})",
    conda:
        "../envs/data.yaml"
    params:
        scheme=class_weight_scheme,
        code=script_digest("class_weights"),
    script:
        "../scripts/class_weights.py"
