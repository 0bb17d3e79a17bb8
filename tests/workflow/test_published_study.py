"""The study of published recipes with real Snakemake: three of them are trained."""

import json

import pandas as pd
import pytest
from conftest import Workspace

EPOCHS = 6
# One whose loss and weights come late, one that mixes images, one with averaged weights and rates that fall in steps:
# the learning rates that their epochs begin with.
LEARNING_RATES = {
    "ldam_ldam_drw": [0.02, 0.04, 0.06, 0.08, 0.1, 0.1],
    "bagoftricks_mixup": [0.1 * factor for factor in (0.466667, 0.6, 0.733333, 0.866667, 1, 1)],
    "timm_efficientnet_b2": [1e-6, 3.2008e-3, 6.4006e-3, 9.6004e-3, 1.28002e-2, 0.016],
}


def rows(workspace: Workspace) -> list[str]:
    """The table of published recipes without its comments, the header first."""
    text = (workspace.root / "config/published.tsv").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_three_published_recipes_are_trained(workspace: Workspace) -> None:
    header, *recipes = rows(workspace)
    three = [row for row in recipes if row.partition("\t")[0] in LEARNING_RATES]
    (workspace.root / "config/three.tsv").write_text("\n".join([header, *three]) + "\n", encoding="utf-8")
    workspace.snakemake(
        "--configfile", "config/published.yaml", "--config", "study=three", "experiments=config/three.tsv",
        f"training={{max_epochs: {EPOCHS}}}", "resources={train_threads: 1}", "--resources", "gpu=2", "--",
        *(f"results/three/train/{name}/seed_0/run.json" for name in LEARNING_RATES),
        "results/three/evaluate/ldam_ldam_drw/seed_0/metrics.json",
    )  # fmt: skip
    for name, learning_rates in LEARNING_RATES.items():
        folder = workspace.root / "results/three/train" / name / "seed_0"
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert run["epochs"] == EPOCHS and run["outcome"] != "diverged"
        assert pd.read_csv(folder / "history.csv")["lr"].tolist() == pytest.approx(learning_rates, rel=1e-4)
