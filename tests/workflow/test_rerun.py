"""What trains again after a change, and what does not, with real Snakemake on a finished small study."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import RECIPES, Workspace


def replace(workspace: Workspace, file: str, old: str, new: str) -> None:
    path = workspace.root / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_finished_study_has_nothing_to_do(finished: Workspace) -> None:
    assert finished.planned() == {}


def add_a_row(workspace: Workspace) -> None:
    replace(workspace, "config/small.tsv", RECIPES, RECIPES + RECIPES.splitlines()[1].replace("plain", "new") + "\n")


def change_one_lr(workspace: Workspace) -> None:
    replace(workspace, "config/small.tsv", "plain\t1\tSGD\t0.01", "plain\t1\tSGD\t0.02")


def change_one_batch_size(workspace: Workspace) -> None:
    replace(workspace, "config/small.tsv", "plain\t1\tSGD\t0.01\t1e-10\t64", "plain\t1\tSGD\t0.01\t1e-10\t32")


def change_one_momentum_to_the_value_of_another_column(workspace: Workspace) -> None:
    replace(workspace, "config/small.tsv", "shuffle\t0.9\t0.6", "shuffle\t0.01\t0.6")


def change_training_code(workspace: Workspace) -> None:
    replace(workspace, "scripts/study/train/stopping.py", "self.patience = patience", "self.patience = patience + 0")


def change_augmentation(workspace: Workspace) -> None:
    workspace.configure(augmentation={"shift": 0.2})


def add_a_seed(workspace: Workspace) -> None:
    workspace.configure(seeds=[0, 1])


def change_the_class_weights(workspace: Workspace) -> None:
    workspace.configure(loss={"class_weights": "balanced"})


def add_a_column(workspace: Workspace) -> None:
    """AMSGrad, at its default in both recipes, as the next version of the pipeline might bring it."""
    path = workspace.root / "config/schemas/config.schema.yaml"
    schema = yaml.safe_load(path.read_text(encoding="utf-8"))
    schema["$defs"]["recipe"]["properties"]["amsgrad"] = {
        "type": "boolean",
        "default": False,
        "only_with": {"optimizer": ["Adam"]},
        "label": "AMSGrad",
        "treatment": "optimizer",
        "description": "The variant of Adam of Reddi et al. 2018.",
    }
    path.write_text(yaml.safe_dump(schema, allow_unicode=True, sort_keys=False), encoding="utf-8")


def add_a_column_and_use_it(workspace: Workspace) -> None:
    add_a_column(workspace)
    header, plain, weighted = RECIPES.splitlines()
    table = "\n".join([f"{header}\tamsgrad", f"{plain}\t", f"{weighted}\ttrue"]) + "\n"
    (workspace.root / "config/small.tsv").write_text(table, encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "trainings"),
    [
        (add_a_row, 1),
        (change_one_lr, 1),
        (change_one_batch_size, 1),
        (change_one_momentum_to_the_value_of_another_column, 1),
        (change_training_code, 2),
        (change_augmentation, 2),
        (add_a_seed, 2),
        (change_the_class_weights, 1),
        (add_a_column_and_use_it, 1),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_trains_again(finished_copy: Workspace, change: Callable[[Workspace], None], trainings: int) -> None:
    change(finished_copy)
    assert finished_copy.planned().get("train") == trainings


def comment(workspace: Workspace) -> None:
    for script in (workspace.root / "scripts").rglob("*.py"):
        script.write_text(script.read_text(encoding="utf-8") + "\n# a remark\n", encoding="utf-8")


def touch_everything(workspace: Workspace) -> None:
    for path in (workspace.root / "results").rglob("*"):
        if path.is_file() and "/data/" in path.as_posix():
            path.touch()


def fresh_checkout(workspace: Workspace) -> None:
    for path in workspace.root.rglob("*"):
        if path.is_file() and not {".snakemake", "results"} & set(path.relative_to(workspace.root).parts):
            os.utime(path)


def change_what_is_only_shown(workspace: Workspace) -> None:
    replace(workspace, "config/small.tsv", "shuffle\t0.9\t0.6", "shuffle\t0.9\t0.7")


def change_metrics(workspace: Workspace) -> None:
    workspace.configure(metrics={"ece_bins": 10, "confidence": 0.9})


def change_resources(workspace: Workspace) -> None:
    workspace.configure(resources={"train_threads": 1, "train_mem_mb": 1000}, checkpoints={"every": 5})


def change_what_nothing_uses(workspace: Workspace) -> None:
    """A limit above the recipes' epochs, a β that the weights' scheme has not, the study's number in other words."""
    workspace.configure(training={"max_epochs": 7}, loss={"effective_number_beta": 0.9})
    header, plain, weighted = RECIPES.splitlines()
    table = "\n".join([f"{header}\trotation", f"{plain}\t5.0", f"{weighted}\t"]) + "\n"
    (workspace.root / "config/small.tsv").write_text(table, encoding="utf-8")


def reword(workspace: Workspace) -> None:
    """A sentence about an outcome, a line of the log and the message of an error."""
    replace(workspace, "scripts/study/compare/outcome_in_words.py", "epochs were trained", "epochs were run")
    replace(workspace, "scripts/study/train/loop.py", "training and ", "images to train on and ")
    replace(workspace, "scripts/study/train/checkpoints.py", "checkpoint not used", "this checkpoint is not used")
    replace(workspace, "scripts/study/train/loop.py", "the validation split holds no image", "no validation image")


def move_the_folder(workspace: Workspace) -> None:
    target = workspace.root.with_name("moved")
    shutil.move(workspace.root, target)
    workspace.root = Path(target)


@pytest.mark.parametrize(
    "change",
    [
        comment,
        touch_everything,
        fresh_checkout,
        change_what_is_only_shown,
        change_metrics,
        change_resources,
        change_what_nothing_uses,
        reword,
        add_a_column,
        move_the_folder,
    ],
    ids=lambda value: value.__name__,
)
def test_what_does_not_train_again(finished_copy: Workspace, change: Callable[[Workspace], None]) -> None:
    change(finished_copy)
    assert "train" not in finished_copy.planned()


def test_a_folder_that_was_moved_has_nothing_to_do(finished_copy: Workspace) -> None:
    assert finished_copy.planned() == {}


def test_a_module_that_a_declaration_names_makes_its_rule_run_again(finished_copy: Workspace) -> None:
    path = finished_copy.root / "scripts/study/compare/effects.py"
    path.write_text(path.read_text(encoding="utf-8") + "\nMORE = 1\n", encoding="utf-8")
    planned = finished_copy.planned()
    assert planned.get("tables") == 1 and "train" not in planned


def reword_a_treatment(workspace: Workspace) -> None:
    replace(workspace, "config/schemas/config.schema.yaml", "label: minimum learning rate", "label: smallest rate")


def reword_an_outcome(workspace: Workspace) -> None:
    replace(workspace, "scripts/study/compare/outcome_in_words.py", "epochs were trained", "epochs went by")


@pytest.mark.parametrize("change", [reword_a_treatment, reword_an_outcome], ids=lambda value: value.__name__)
def test_words_that_tables_show_make_them_again(finished_copy: Workspace, change: Callable[[Workspace], None]) -> None:
    change(finished_copy)
    planned = finished_copy.planned()
    assert planned.get("tables") == 1 and "train" not in planned and "evaluate" not in planned


def test_more_threads_train_nothing(finished: Workspace) -> None:
    assert finished.planned("--cores", "1") == {}
