# Compare training recipes on an imbalanced image collection:
# raw images → manifest → packed arrays → class weights → one training job per recipe and seed → evaluation → report.
from snakemake.utils import min_version

min_version("9.1")


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
