# Compare training recipes on an imbalanced image collection:
# raw images → manifest → packed arrays → class weights → one training job per recipe and seed → evaluation → report.
from pathlib import Path

from snakemake.utils import min_version

min_version("9.1")


DEFAULT_STUDY = workflow.current_basedir.join("config/config.yaml").get_path_or_uri(secret_free=True)


configfile: DEFAULT_STUDY


# Run in another folder, what that folder has is laid over it.
if Path("config/config.yaml").exists() and Path("config/config.yaml").resolve() != Path(DEFAULT_STUDY).resolve():

    configfile: "config/config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/compare.smk"


rule all:
    """Tables, figures and the report of the whole study."""
    default_target: True
    input:
        f"{RESULTS}/report.html",
