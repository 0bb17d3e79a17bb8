"""Which experiment a training starts from, and what is said of one that it cannot start from."""

from pathlib import Path

import pytest

from study.errors import StudyError
from study.recipe import Recipe
from study.recipe_table import read_recipes
from study.starts import start_of, starts_first

GIVEN = {
    "optimizer": "SGD", "lr": 0.01, "min_lr": 1e-10, "batch_size": 64, "max_epochs": 100, "loss": "cross_entropy",
    "activation": "logits", "sampler": "shuffle",
}  # fmt: skip


def read(tmp_path: Path, rows: dict[str, dict[str, str]], study: dict[str, str] | None = None) -> dict[str, Recipe]:
    """The recipes of a table with these cells, by experiment and column."""
    columns = list(dict.fromkeys(column for cells in (GIVEN, *rows.values()) for column in cells))
    lines = [["experiment", "case", *columns]]
    lines += [[name, "1", *(str({**GIVEN, **cells}.get(c, "")) for c in columns)] for name, cells in rows.items()]
    path = tmp_path / "own.tsv"
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return read_recipes(path, study=None if study is None else Recipe.of("x", **GIVEN).hyperparameters | study)


def test_chains_come_in_the_order_they_are_trained_in(tmp_path: Path) -> None:
    recipes = read(tmp_path, {"c": {"init_from": "b", "freeze": "backbone"}, "b": {"init_from": "a"}, "a": {}})
    assert [start_of(recipe) for recipe in recipes.values()] == ["b", "a", None]
    assert starts_first(recipes) == ["a", "b", "c"]


def test_what_it_does_not_start_from_decides_nothing(tmp_path: Path) -> None:
    recipes = read(tmp_path, {"a": {}, "b": {"init_from": "a"}}, study={"model.init_part": "backbone"})
    assert not any(name.startswith("model.init") for name in recipes["a"].deciding)
    assert recipes["b"].deciding["model.init_from"] == "a"
    assert recipes["b"].deciding["model.init_part"] == "backbone"


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (
            {"init_from": "bas"},
            r"found bas, which is no experiment with a training of its own; did you mean base\? allowed is none or one",
        ),
        ({"init_from": "own"}, r"found own, and so starts from itself \(own from own\); allowed is none or"),
        ({"init_from": "base", "name": "vgg16"}, "found base, whose model.name is vgg19, not vgg16; allowed is an"),
        ({"init_from": "base", "head_hidden": "9"}, "found base, whose model.head_hidden is 256, not 9; allowed is an"),
    ],
)
def test_an_experiment_that_nothing_starts_from(tmp_path: Path, cells: dict[str, str], words: str) -> None:
    with pytest.raises(StudyError, match=rf"own.tsv, row 3, column 'model.init_from': {words}"):
        read(tmp_path, {"base": {}, "own": cells})


def test_a_circle_is_named_whole(tmp_path: Path) -> None:
    with pytest.raises(
        StudyError, match=r"row 2, column 'model.init_from': found c, and .* \(a from c from b from a\)"
    ):
        read(tmp_path, {"a": {"init_from": "c"}, "b": {"init_from": "a"}, "c": {"init_from": "b"}})


def test_another_head_goes_with_a_backbone_alone(tmp_path: Path) -> None:
    cells = {"init_from": "base", "init_part": "backbone", "head_hidden": "9"}
    assert start_of(read(tmp_path, {"base": {}, "own": cells})["own"]) == "base"
    ldam = {"init_from": "base", "loss": "ldam", "activation": "logits"}
    assert start_of(read(tmp_path, {"base": {}, "own": {**ldam, "init_part": "backbone"}})["own"]) == "base"
    with pytest.raises(StudyError, match="found base, whose loss is cross_entropy, not ldam, and LDAM alone ends in a"):
        read(tmp_path, {"base": {}, "own": ldam})


def test_the_studys_own_start_is_named_as_its_key(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"row 2, config key 'model.init_from': found a, and so starts from itself"):
        read(tmp_path, {"a": {}, "b": {}}, study={"model.init_from": "a"})


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"init_part": "backbone"}, "'model.init_part': found backbone, which the start from none does not take"),
        ({"init_from": "base", "weights": "imagenet"}, r"'model.weights': found imagenet, allowed is none .* \(base\)"),
        ({"freeze": "backbone"}, "'model.freeze': found backbone, which needs weights to start from"),
        (
            {"init_from": "base", "init_part": "head"},
            "'model.init_part': found 'head', allowed is one of all, backbone",
        ),
        ({"init_from": "a b"}, "'model.init_from': found 'a b', allowed is the name of another experiment of the"),
    ],
)
def test_cells_that_do_not_fit_each_other(tmp_path: Path, cells: dict[str, str], words: str) -> None:
    with pytest.raises(StudyError, match=f"row 3, column {words}"):
        read(tmp_path, {"base": {}, "own": cells})
