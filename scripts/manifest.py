"""Read and audit the source, divide it into splits, and write down what became of every image."""

from pathlib import Path

from study.data.data_settings import DataSettings, Expected
from study.data.manifest import write_manifest
from study.data.manifest_building import build_manifest
from study.data.splits import SplitSettings
from study.files import file_sha256, write_json
from study.rule_log import logged

with logged(snakemake.log[0]) as say:
    # Read from the configuration, not from params: what is expected decides nothing about a result.
    configured = snakemake.config["data"]
    manifest, audit = build_manifest(
        DataSettings(**snakemake.params.data),
        SplitSettings(**snakemake.params.split),
        workers=snakemake.threads,
        expected=Expected(**(configured["expected"] or {}), sha256=configured["sha256"]),
        report=say,
    )
    write_manifest(manifest, Path(snakemake.output.manifest))
    audit["manifest_sha256"] = file_sha256(snakemake.output.manifest)
    write_json(audit, snakemake.output.audit)
    kept = manifest[manifest["status"] == "kept"]
    sizes = ", ".join(f"{split} {count}" for split, count in kept["split"].value_counts().items())
    say(f"{len(manifest)} images found, {len(kept)} kept ({sizes}), {len(manifest) - len(kept)} dropped")
