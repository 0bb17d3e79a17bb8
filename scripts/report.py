"""Let Snakemake build its report of the finished study, make it small, and put it in place whole."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from study.errors import StudyError
from study.report.report_page import small
from study.rule_log import logged

with logged(snakemake.log[0]) as say, tempfile.TemporaryDirectory() as scratch:
    config = Path(scratch, "config.yaml")
    used = snakemake.params.config or snakemake.config
    config.write_text(yaml.safe_dump(used, sort_keys=False, allow_unicode=True), encoding="utf-8")
    page = Path(scratch, "report.html")
    stylesheet = shutil.copy(snakemake.input.stylesheet, scratch)  # Snakemake takes a $ in its path for a variable
    # A second Snakemake that only reads: no lock, no profile, and these files alone as targets.
    command = [sys.executable, "-m", "snakemake", "--snakefile", snakemake.params.snakefile, "--nolock"]
    command += ["--profile", "none", "--workflow-profile", "none", "--configfile", config]
    command += ["--report", page, "--report-stylesheet", stylesheet, "--", *snakemake.input.shown]
    run = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode:
        raise StudyError(f"Snakemake could not build the report:\n{run.stdout}")
    target = Path(snakemake.output[0])
    part = target.with_name(f".{target.name}.part")
    loader = Path(snakemake.input.loader).read_text(encoding="utf-8")
    part.write_text(small(page.read_text(encoding="utf-8"), target.parent, loader), encoding="utf-8")
    part.replace(target)
    say(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
