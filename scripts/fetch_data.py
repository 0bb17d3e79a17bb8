"""Download the data set that the configuration names, or say how to get it by hand."""

from study.data.fetch import fetch
from study.data.sources import forms_in_words
from study.rule_log import logged

FER2013 = (
    "Kaggle has them, for users with an account, as image folders in a zip "
    "(https://www.kaggle.com/datasets/msambare/fer2013) and as icml_face_data.csv "
    "(https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge/data). "
)
FORMS = f"Any of these will do where the config key 'data.source' names it: {forms_in_words()}."

with logged(snakemake.log[0]) as say:
    target, url, sha256 = snakemake.output[0], snakemake.params.url, snakemake.params.sha256
    what, hint = "your images", FORMS
    if "fer2013" in target.lower():
        what, hint = "the FER2013 images", FER2013 + FORMS
    fetch(url, target, sha256=sha256, what=what, hint=hint)
    say(f"{target} downloaded from {url}, SHA-256 as expected")
