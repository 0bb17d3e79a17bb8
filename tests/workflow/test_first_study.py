"""From images to a study in two commands: `init` writes a configuration, and Snakemake plans with it."""

import yaml
from conftest import Workspace
from example_images import write_tree


def test_init_writes_what_snakemake_plans_with(workspace: Workspace) -> None:
    write_tree(workspace.root / "images/mushrooms", {"Amanita": 40, "Boletus": 20, "007": 10})
    done = workspace.command("init", "images/mushrooms")
    assert done.returncode == 0, done.stdout
    assert "70 images of 3 classes" in done.stdout
    file = "config/mushrooms.yaml"
    assert yaml.safe_load((workspace.root / file).read_text())["data"]["expected"]["classes"]["007"] == 10
    jobs = workspace.planned("--configfile", file)
    assert jobs["train"] == 14 and jobs["manifest"] == 1
