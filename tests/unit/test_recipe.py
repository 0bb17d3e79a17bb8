"""The table of recipes: what it accepts, and what it says about a wrong cell."""

import re
from pathlib import Path
from typing import Any

import pytest

from study.elsewhere import from_file, made_elsewhere, predictions_file
from study.errors import StudyError
from study.recipe import (
    COLUMNS,
    HYPERPARAMETERS,
    KEYS,
    NEUTRAL,
    TOLD,
    TREATMENTS,
    Column,
    Recipe,
    difference_in_words,
    listed,
    lr_text,
    shown_columns,
)
from study.recipe_table import read_captions, read_recipes
from study.schema import SCHEMA
from study.settings import check_predictions_files

HEADER = "experiment case optimizer lr min_lr batch_size max_epochs loss activation sampler momentum nesterov reported"
ROW = "a 1 SGD 0.01 1e-10 64 100 cross_entropy softmax shuffle 0.9 false 0.61"


def write(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "experiments.tsv"
    path.write_text("\n".join("\t".join(row.split(" ")) for row in (header, *rows)) + "\n", encoding="utf-8")
    return path


def changed(column: str, value: str, row: str = ROW) -> str:
    cells = row.split(" ")
    cells[HEADER.split(" ").index(column)] = value
    return " ".join(cells)


GIVEN: dict[str, Any] = {
    "optimizer": "SGD", "lr": 0.1, "min_lr": 1e-4, "batch_size": 8, "max_epochs": 2, "loss": "cross_entropy",
    "activation": "logits", "sampler": "shuffle",
}  # fmt: skip


def test_the_studys_table_holds_its_fourteen_recipes() -> None:
    recipes = read_recipes(Path(__file__).parents[2] / "config/experiments.tsv")
    assert list(recipes) == [
        *(f"sgd_ver{n}" for n in range(1, 7)),
        *(f"adam_ver{n}" for n in (1, 2, 4, 3, 5, 6, 7, 8)),
    ]
    assert {name: recipe.reported for name, recipe in recipes.items() if recipe.reported} == {
        "sgd_ver1": 0.6115, "sgd_ver2": 0.6133, "sgd_ver3": 0.6654, "sgd_ver4": 0.6427, "sgd_ver5": 0.6622,
        "sgd_ver6": 0.6606, "adam_ver3": 0.6137, "adam_ver5": 0.6344, "adam_ver6": 0.6249, "adam_ver7": 0.6238,
        "adam_ver8": 0.6444,
    }  # fmt: skip
    # the four weighted SGD recipes drew class-balanced batches, the weighted Adam recipes did not
    balanced = [name for name, recipe in recipes.items() if recipe.sampler == "balanced"]
    assert balanced == ["sgd_ver2", "sgd_ver3", "sgd_ver5", "sgd_ver6"]
    assert recipes["adam_ver7"].weighted and recipes["adam_ver7"].sampler == "shuffle"


def test_hyperparameters_leave_out_what_only_tables_show(tmp_path: Path) -> None:
    recipe = read_recipes(write(tmp_path, ROW))["a"]
    other = read_recipes(write(tmp_path, changed("reported", "0.7", changed("case", "3"))))["a"]
    assert recipe.hyperparameters == other.hyperparameters
    assert list(recipe.hyperparameters)[:2] == ["optimizer", "lr"]


def test_comments_empty_lines_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = write(tmp_path, ROW)
    text = "# my recipes\n\n" + path.read_text(encoding="utf-8")
    path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    assert list(read_recipes(path)) == ["a"]


def test_every_wrong_row_is_named_at_once(tmp_path: Path) -> None:
    wrong = [changed("lr", "fast", changed("experiment", f"e{k}")) for k in range(12)]
    with pytest.raises(StudyError) as error:
        read_recipes(write(tmp_path, wrong[0], ROW, wrong[1]))
    first, second = str(error.value).splitlines()
    assert "row 2, column 'lr': found 'fast'" in first and "row 4, column 'lr': found 'fast'" in second
    with pytest.raises(StudyError, match=r"3 more rows like these$"):
        read_recipes(write(tmp_path, *wrong))


def test_a_number_that_is_the_studys_is_spelled_as_there(tmp_path: Path) -> None:
    """Snakemake compares params as text: 10 and 10.0 would be two recipes."""
    study = Recipe.of("x", **GIVEN).but(rotation=10).hyperparameters
    (recipe,) = read_recipes(write(tmp_path, ROW + " 10", header=HEADER + " rotation"), study=study).values()
    assert repr(recipe["augmentation.rotation"]) == "10"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom"])
def test_any_line_end_and_what_spreadsheets_write(tmp_path: Path, end: str, code: str) -> None:
    lines = ['"# Case 1: loss, ""weighted"" or not"\t\t', HEADER.replace(" ", "\t") + "\t\t", "\t\t\t", "  # no recipe"]
    lines += [ROW.replace(" ", "\t") + "\t\t", changed("experiment", '"b"').replace(" ", "\t")]
    text = end.join([*lines, "", ""])
    mark = "\ufeff" if code.endswith("bom") else ""
    path = tmp_path / "experiments.tsv"
    path.write_bytes((mark + text).encode(code.removesuffix("-bom")))
    assert list(read_recipes(path)) == ["a", "b"]
    assert read_captions(path) == {"1": 'loss, "weighted" or not'}


def test_rows_are_counted_as_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, ROW, changed("lr", "fast", changed("experiment", "b")))
    path.write_text("# comment\u2028still it\n\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(StudyError, match=r"row 5, column 'lr': found 'fast'"):
        read_recipes(path)
    path.write_text("# comment\n\n" + HEADER.replace(" ", "\t").replace("momentum", "moment") + "\n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"row 3: unknown column 'moment'; did you mean 'momentum'\? Allowed: "):
        read_recipes(path)


def test_what_is_no_utf_8_is_named_with_its_row(tmp_path: Path) -> None:
    path = write(tmp_path, ROW)
    path.write_bytes(path.read_bytes() + "# für".encode("latin-1"))
    with pytest.raises(StudyError, match=r"row 3: not UTF-8 text \(.*\); save the table as UTF-8"):
        read_recipes(path)
    path.write_bytes(HEADER.encode("utf-16-le"))
    with pytest.raises(StudyError, match=r"not UTF-8 text \(it holds zero bytes\)"):
        read_recipes(path)
    with pytest.raises(StudyError, match="the table of recipes is not readable"):
        read_recipes(tmp_path)


@pytest.mark.parametrize(
    "name", ["01", "NA", "None", "nan", "1e5", "True", "null", "2026-01-01", "1.0", "a.b", "property"]
)
def test_names_stay_as_they_are_written(tmp_path: Path, name: str) -> None:
    assert list(read_recipes(write(tmp_path, changed("experiment", name)))) == [name]


@pytest.mark.parametrize("name", ["-", "CON", "nul", "Aux.1", "com1", "a.", "_a", "é", "a\u00a0b", "."])
def test_names_that_are_no_folder_everywhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StudyError, match=r"row 2, column 'experiment': found .*, allowed is letters, digits"):
        read_recipes(write(tmp_path, changed("experiment", name)))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("experiment", "a/b", "row 2, column 'experiment': found 'a/b', allowed is letters, digits"),
        ("case", "one", "row 2, column 'case': found 'one', allowed is a whole number of at least 1"),
        ("optimizer", "Adaam", "row 2, column 'optimizer': found 'Adaam', allowed is one of SGD, Adam"),
        ("lr", "fast", "row 2, column 'lr': found 'fast', allowed is a number above 0"),
        ("lr", "0", "column 'lr': found '0', allowed is a number above 0"),
        ("lr", "nan", "column 'lr': found 'nan'"),
        ("lr", "inf", "column 'lr': found 'inf'"),
        ("lr", "0,01", "found '0,01', allowed is a number above 0; write 0.01, with a point and a plain minus sign"),
        ("lr", "1e\u22122", "found '1e−2', allowed is a number above 0; write 1e-2, with a point and a plain minus"),
        ("lr", "\u221212", "found '−12', allowed is a number above 0"),
        ("lr", "0.01\u200b", "found '0.01\\u200b', allowed is a number above 0"),
        ("min_lr", "-1", "column 'min_lr': found '-1', allowed is a number of at least 0"),
        ("min_lr", "0.1", "column 'min_lr': found 0.1, allowed is at most lr = 0.01"),
        ("lr", "1_0", "column 'lr': found '1_0', allowed is a number above 0"),
        ("lr", "\uff11", "column 'lr': found '\uff11', allowed is a number above 0"),
        ("batch_size", "6_4", "column 'batch_size': found '6_4', allowed is a whole number"),
        ("batch_size", "6.5", "column 'batch_size': found '6.5', allowed is a whole number"),
        ("max_epochs", "0", "column 'max_epochs': found '0', allowed is a whole number of at least 1"),
        ("loss", "mse", "column 'loss': found 'mse', allowed is one of cross_entropy, weighted_cross_entropy"),
        ("activation", "relu", "column 'activation': found 'relu', allowed is one of softmax, log_softmax, logits"),
        ("sampler", "random", "column 'sampler': found 'random', allowed is one of shuffle, balanced"),
        ("momentum", "2", "column 'momentum': found '2', allowed is a number from 0 to 1"),
        ("nesterov", "yes", "column 'nesterov': found 'yes', allowed is true or false"),
        ("reported", "61.15", "column 'reported': found '61.15', allowed is an accuracy from 0 to 1"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path: Path, column: str, value: str, message: str) -> None:
    with pytest.raises(StudyError) as error:
        read_recipes(write(tmp_path, changed(column, value)))
    assert message in str(error.value)
    assert "experiments.tsv" in str(error.value)


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([ROW, ROW], HEADER, "experiments.tsv, row 2 already"),
        ([ROW, changed("experiment", "A")], HEADER, "upper and lower case count as the same"),
        ([ROW + " x"], HEADER, "row 2: 14 cells found, 13 expected"),
        ([changed("experiment", '"a')], HEADER, "row 2: a quotation mark at the start of a cell needs one at its end"),
        ([ROW + "  x"], HEADER, "row 2: 15 cells found, 13 expected"),
        ([ROW], HEADER.replace("lr min_lr", "lr  min_lr"), "row 1: column 5 has no name; name it or remove it"),
        ([ROW], HEADER.replace("lr", "lr\u200b", 1), "unknown column 'lr\\u200b'; did you mean 'lr'? Allowed: "),
        ([ROW], HEADER.replace(" ", ";"), "row 1: one column found; columns are separated by tabs, not by semicolons"),
        ([ROW], HEADER.replace(" ", "  ").replace("  ", "\xa0"), "allowed: experiment, case"),
        ([ROW], HEADER.replace("momentum", "momentun"), "unknown column 'momentun'; did you mean 'momentum'?"),
        ([ROW], HEADER.replace("lr min_lr", "min_lr min_lr"), "the column 'min_lr' stands twice"),
        ([ROW.replace("0.01 ", "")], HEADER.replace("lr min_lr", "min_lr"), "missing column 'lr'"),
        ([], HEADER, "no recipe below the header"),
        ([ROW.replace(" ", ",")], HEADER.replace(" ", ","), "separated by tabs, not by commas"),
        (
            [changed("optimizer", "Adam")],
            HEADER,
            "column 'momentum': found 0.9, which the optimizer Adam does not take; allowed is 0 or nothing",
        ),
        (
            [changed("nesterov", "true", changed("momentum", "0", changed("optimizer", "Adam")))],
            HEADER,
            "column 'nesterov': found true, which the optimizer Adam does not take; allowed is false or nothing",
        ),
        ([changed("nesterov", "true", changed("momentum", "0"))], HEADER, "needs a momentum above 0"),
        (
            [ROW + " 0.5,0.1"],
            HEADER + " random_resized_crop",
            "column 'augmentation.random_resized_crop': found 0.5,0.1, allowed is the smaller number first",
        ),
        (
            [ROW + " 0.5,1 4"],
            HEADER + " random_resized_crop crop_padding",
            "column 'augmentation.crop_padding': found 4, which random_resized_crop does not take; use one of",
        ),
        (
            [ROW + " 0.5,2"],
            HEADER + " crop_ratio",
            "column 'augmentation.crop_ratio': found 0.5,2, which means nothing without random_resized_crop",
        ),
        (
            [ROW + " 0,1"],
            HEADER + " random_resized_crop",
            "found '0,1', allowed is two numbers above 0 and up to 1, the smaller first",
        ),
        (
            [changed("batch_size", "1") + " 0.2"],
            HEADER + " mixup_alpha",
            "column 'augmentation.mixup_alpha': found 0.2, which needs a batch_size of at least 2; allowed is 0",
        ),
        (
            [ROW + " balanced"],
            HEADER + " class_weights",
            "'loss.class_weights': found balanced, which the loss cross_entropy does not take; allowed is nothing",
        ),
        (
            [ROW.replace("cross_entropy", "weighted_cross_entropy") + " 0.9"],
            HEADER + " effective_number_beta",
            "found 0.9, which the class weights complement does not take; allowed is nothing",
        ),
        (
            [changed("loss", "focal")],
            HEADER,
            "column 'activation': found softmax, allowed with the loss focal is log_softmax or logits",
        ),
        (
            [changed("loss", "focal", changed("activation", "logits")) + " 0.1"],
            HEADER + " label_smoothing",
            "'loss.label_smoothing': found 0.1, which the loss focal does not take; allowed is 0 or nothing",
        ),
        (
            [ROW + " 0.8"],
            HEADER + " defer_until",
            "'loss.defer_until': found 0.8, which needs class weights in the loss or a sampler other than shuffle",
        ),
        (
            [changed("loss", "weighted_cross_entropy") + " 0.8 none"],
            HEADER + " defer_until class_weights",
            "'loss.defer_until': found 0.8, which needs class weights in the loss or a sampler other than shuffle",
        ),
        (
            [changed("sampler", "progressive", changed("loss", "weighted_cross_entropy")) + " 0.8"],
            HEADER + " defer_until",
            "column 'sampler': found progressive, which begins with every image alike as it is; allowed with a",
        ),
        ([ROW + " 1"], HEADER + " dropout", "column 'model.dropout': found '1', allowed is a number of at least 0 and"),
        (
            [ROW + " 0.1 0.2"],
            HEADER + " dropout model.dropout",
            "the column 'model.dropout' stands twice, as 'dropout' and as 'model.dropout'; each is used once",
        ),
        ([ROW + " 0.1"], HEADER + " dropot", "unknown column 'dropot'; did you mean 'dropout'?"),
        (
            [ROW + " 9"],
            HEADER + " training.max_epochs",
            "'training.max_epochs' is no column, it is the same for every recipe: it limits the column max_epochs",
        ),
        (
            [ROW + " 48"],
            HEADER + " data.image_size",
            "'data.image_size' is no column, it is the same for every recipe, as recipes are compared on the same "
            "images by the same measures; set it in the study's configuration",
        ),
        ([ROW + " 48"], HEADER + " stored_size", "the key 'data.stored_size' is no column, it is the same for every"),
        (
            [ROW + " x"],
            HEADER + " weights_url",
            "'model.weights_url' is no column, it is the same for every recipe: it",
        ),
        ([ROW + " 0,1"], HEADER + " norm_weight_decay", "or null; write 0.1, with a point and a plain minus sign"),
    ],
)
def test_a_wrong_table_is_explained(tmp_path: Path, rows: list[str], header: str, message: str) -> None:
    with pytest.raises(StudyError) as error:
        read_recipes(write(tmp_path, *rows, header=header))
    assert message in str(error.value)


def test_keys_of_the_configuration_are_columns(tmp_path: Path) -> None:
    """An empty cell is the study's value, a filled one the recipe's; a key is named in full or by its own name."""
    header, study = HEADER + " dropout augmentation.vertical_flip early_stopping_patience", {"model.dropout": 0.3}
    path = write(tmp_path, ROW + " 0.5 0.25 3", ROW.replace("a 1", "b 1") + "   ", header=header)
    recipes = read_recipes(path, study=Recipe.of("x", **GIVEN).hyperparameters | study)
    named = ("model.dropout", "augmentation.vertical_flip", "training.early_stopping_patience", "model.name")
    assert [recipes["a"][name] for name in named] == [0.5, 0.25, 3, "vgg19"]
    assert [recipes["b"][name] for name in named] == [0.3, 0.0, 10, "vgg19"]
    assert recipes["a"].section("model") | {"dropout": 0.3} == recipes["b"].section("model")
    assert recipes["a"].deciding.keys() == recipes["b"].deciding.keys()
    shown = [name for name in shown_columns(recipes.values()) if "." in name]
    assert shown == ["model.dropout", "augmentation.vertical_flip", "training.early_stopping_patience"]
    assert [name for name in shown_columns([recipes["a"]]) if "." in name] == []


def test_a_recipe_goes_without_what_the_study_has_for_all(tmp_path: Path) -> None:
    study = Recipe.of("x", **GIVEN).but(random_resized_crop=[0.5, 1], color_jitter=[0.4, 0.4, 0.4]).hyperparameters
    path = write(tmp_path, ROW + " null null", header=HEADER + " random_resized_crop color_jitter")
    recipe = read_recipes(path, study=study)["a"]
    assert recipe["augmentation.random_resized_crop"] is None and recipe["augmentation.color_jitter"] is None
    assert not [name for name in recipe.deciding if name.startswith("augmentation.random_resized")]


def test_a_key_is_a_column_or_says_why_it_is_none() -> None:
    for name, node in KEYS.items():
        assert (name in COLUMNS) != ("for_all" in node), name
    labels = [column.label for column in HYPERPARAMETERS.values()]
    assert len(labels) == len(set(labels))  # tables tell columns by their labels


def test_what_means_nothing_in_a_recipe_has_no_value() -> None:
    recipe = Recipe.of("a", **GIVEN)
    assert recipe.meant("momentum") == 0.0 and recipe.but(optimizer="Adam").meant("momentum") is None
    assert recipe.meant("loss.class_weights") is None
    weighted = recipe.but(loss="weighted_cross_entropy")
    assert weighted.meant("loss.class_weights") == "complement" and weighted.meant("loss.effective_number_beta") is None
    assert weighted.but(class_weights="effective_number").meant("loss.effective_number_beta") == 0.999


def test_a_missing_and_an_empty_table(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="does not exist"):
        read_recipes(tmp_path / "none.tsv")
    (tmp_path / "empty.tsv").write_text("\n")
    with pytest.raises(StudyError, match="the table is empty"):
        read_recipes(tmp_path / "empty.tsv")


def test_several_tables_are_read_as_one(tmp_path: Path) -> None:
    write(tmp_path, ROW)
    (tmp_path / "more.tsv").write_text((tmp_path / "experiments.tsv").read_text().replace("\na\t", "\nb\t"))
    assert list(read_recipes(["experiments.tsv", "more.tsv"], tmp_path)) == ["a", "b"]
    with pytest.raises(StudyError, match=r"more\.tsv, row 2, .*'b' stands in .*more\.tsv, row 2 already"):
        read_recipes(["more.tsv", tmp_path / "more.tsv"], tmp_path)


@pytest.mark.parametrize("name", ["ablations", "lr_batch"])
def test_tables_that_run_on_request_fit_the_fourteen(name: str) -> None:
    config = Path(__file__).parents[2] / "config"
    recipes = read_recipes(["experiments.tsv", f"{name}.tsv"], config)
    base = list(recipes.values())[:14]
    for recipe in list(recipes.values())[14:]:
        assert recipe.hyperparameters not in [one.hyperparameters for one in base]
        assert recipe.reported is None


@pytest.mark.parametrize(
    ("lr", "text"), [(1e-2, "1e-2"), (5e-4, "5e-4"), (1.5e-3, "1.5e-3"), (1e-10, "1e-10"), (0.5, "0.5"), (0.0, "0")]
)
def test_learning_rates_as_papers_write_them(lr: float, text: str) -> None:
    assert lr_text(lr) == text


def test_every_hyperparameter_has_a_treatment_or_says_that_it_is_neutral() -> None:
    of_treatments = [column for columns in TREATMENTS.values() for column in columns]
    assert all(TREATMENTS.values()) and len(of_treatments) == len(set(of_treatments))
    for name, column in HYPERPARAMETERS.items():
        assert (column.treatment == NEUTRAL) != (name in of_treatments), name
    assert set(HYPERPARAMETERS) == set(COLUMNS) - {"experiment", "case", *TOLD}


def test_defaults_are_what_training_did_before_there_was_the_column() -> None:
    """Finished runs rest on them: a recipe at a default is not told from one of a table without the column."""
    defaults = {name: column.node["default"] for name, column in HYPERPARAMETERS.items() if "default" in column.node}
    assert {name: defaults[name] for name in ("momentum", "weight_decay", "nesterov")} == {
        "momentum": 0.0, "weight_decay": 0.0, "nesterov": False,
    }  # fmt: skip


def test_what_decides_leaves_out_defaults() -> None:
    recipe = Recipe.of("a", momentum=0.9, **GIVEN)
    studys = [name for name, column in HYPERPARAMETERS.items() if column.section and "default" not in column.node]
    of_sections = {name: recipe[name] for name in studys}
    for name in ("loss.class_weights", "loss.effective_number_beta"):
        del of_sections[name]
    of_sections = {n: v for n, v in of_sections.items() if "default" not in HYPERPARAMETERS[n].node}
    assert recipe.deciding == {**GIVEN, "momentum": 0.9, **of_sections}
    heavy = recipe.but(loss="weighted_cross_entropy").deciding
    assert "loss.class_weights" in heavy and "loss.effective_number_beta" not in heavy
    assert recipe.hyperparameters["weight_decay"] == recipe.weight_decay == 0.0
    assert recipe.but(weight_decay=0.1).deciding["weight_decay"] == 0.1
    assert recipe == Recipe.of("a", **recipe.deciding)
    assert recipe.deciding == Recipe.of("a", study={}, **recipe.deciding).deciding


def test_a_column_that_does_not_exist_and_one_that_is_missing() -> None:
    with pytest.raises(TypeError, match="a recipe has no column momentun"):
        Recipe.of("a", momentun=0.9)
    with pytest.raises(TypeError, match="a recipe needs the column lr, batch_size, "):
        Recipe.of("a", optimizer="SGD")
    with pytest.raises(AttributeError, match="a recipe has no 'momentun'"):
        _ = Recipe.of("a", **{n: 0 for n, c in HYPERPARAMETERS.items() if not c.optional}).momentun


def test_differences_in_words(tmp_path: Path) -> None:
    recipe = read_recipes(write(tmp_path, ROW))["a"]
    other = recipe.but(sampler="balanced", loss="weighted_cross_entropy", batch_size=128, momentum=0.5)
    assert difference_in_words(recipe, other, ["loss", "sampler"]) == "cross entropy with plain shuffling"
    assert difference_in_words(other, recipe, ["batch_size", "lr"]) == "batch size 128"
    assert difference_in_words(other, recipe, TREATMENTS["optimizer"]) == "momentum 0.5"


def test_the_schema_of_the_columns_is_a_schema() -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(SCHEMA)
    for column in HYPERPARAMETERS.values():
        assert column.label and column.heading[0].isupper()
        assert set(column.node.get("words", {})) <= set(column.choices)
        for other, values in column.node.get("only_with", {}).items():
            assert column.optional
            if isinstance(values, dict):
                assert list(values) == ["above"] and HYPERPARAMETERS[other].numeric
            else:
                assert set(values) <= set(HYPERPARAMETERS[other].choices)


SCHEDULES = [
    ({"lr_scheduler": "CosineAnnealingLR", "lr_warmup_epochs": "5", "lr_interval": "step"}, ""),
    ({"lr_scheduler": "MultiStepLR", "lr_milestones": "30, 60,90"}, ""),
    ({"lr_scheduler": "OneCycleLR", "pct_start": "0.2", "monitor": "val_nll"}, ""),
    ({"early_stopping_patience": "null"}, ""),
    ({"early_stopping_patience": "null", "monitor": "val_accuracy"}, ""),
    ({"lr_scheduler": "MultiStepLR"}, "'training.lr_milestones': found nothing, allowed is numbers of epochs"),
    ({"lr_scheduler": "MultiStepLR", "lr_milestones": "9,3"}, "found 9,3, allowed is numbers of epochs that rise"),
    ({"lr_scheduler": "MultiStepLR", "lr_milestones": "3,x"}, "found '3,x', allowed is numbers of epochs that rise"),
    ({"lr_scheduler": "MultiStepLR", "lr_milestones": "1.5,3"}, "found 1.5,3, allowed are whole numbers where the lr_"),
    ({"lr_scheduler": "MultiStepLR", "lr_milestones": "1.5,3", "lr_interval": "step"}, ""),
    ({"lr_milestones": "3"}, "found 3, which the schedule ReduceLROnPlateau does not take; allowed is nothing"),
    ({"lr_gamma": "0.5"}, "'training.lr_gamma': found 0.5, which the schedule ReduceLROnPlateau does not take;"),
    ({"lr_scheduler": "StepLR", "scheduler_factor": "0.5"}, "found 0.5, which the schedule StepLR does not take"),
    ({"lr_scheduler": "StepLR", "min_lr": "0.001"}, "'min_lr': found 0.001, which the schedule StepLR does not take; "),
    ({"lr_scheduler": "OneCycleLR", "lr_warmup_epochs": "2"}, "found 2, which the schedule OneCycleLR does not take"),
    ({"lr_warmup_decay": "0.1"}, "found 0.1, which the warm-up epochs 0 does not take; allowed is 0.01 or nothing"),
    ({"lr_warmup_epochs": "100"}, "'training.lr_warmup_epochs': found 100, allowed is less than max_epochs = 100"),
    ({"lr_warmup_epochs": "0.5"}, "found 0.5, allowed is a whole number where the lr_interval is epoch"),
    ({"lr_scheduler": "OneCycleLR", "monitor": "val_nll", "early_stopping_patience": "null"},
     "'training.monitor': found val_nll, which neither a plateau nor early stopping watches here; allowed is val_loss"),
    ({"early_stopping_patience": "null", "early_stopping_min_delta": "0.1"},
     "found 0.1, which the early stopping's patience null does not take; allowed is nothing"),
    ({"early_stopping_patience": "0"}, "found '0', allowed is a whole number of at least 1 or null"),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "message"), SCHEDULES)
def test_what_fits_a_schedule_and_what_is_refused(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    given = {"experiment": "a", "case": "1", "optimizer": "SGD", "lr": "0.01", "batch_size": "64", "max_epochs": "100"}
    given |= {"loss": "cross_entropy", "activation": "logits", "sampler": "shuffle"} | columns
    path = tmp_path / "experiments.tsv"
    path.write_text("\t".join(given) + "\n" + "\t".join(given.values()) + "\n", encoding="utf-8")
    if not message:
        recipe = read_recipes(path)["a"]
        assert Recipe.of("a", study={}, **recipe.deciding).deciding == recipe.deciding
        return
    with pytest.raises(StudyError) as error:
        read_recipes(path)
    assert "experiments.tsv, row 2, column" in str(error.value) or "config key" in str(error.value)
    assert message in str(error.value)


def test_lists_and_nothing_in_words() -> None:
    milestones, patience = (
        HYPERPARAMETERS["training.lr_milestones"],
        HYPERPARAMETERS["training.early_stopping_patience"],
    )
    assert milestones.in_words([30, 60.5]) == "milestones 30, 60.5"
    assert patience.in_words(None) == "early stopping's patience none"
    assert sorted([10, None, 5], key=patience.rank) == [None, 5, 10]


def test_numbers_in_words():
    assert listed(["3"]) == "3"
    assert listed(["3", "9"]) == "3 and 9"
    assert listed(["3", "9", "12"]) == "3, 9 and 12"
    assert listed([str(n) for n in range(1, 10)]) == "1, 2, 3, 4, 5, 6, …, 9"


def test_what_holds_for_cross_entropy_is_said_of_it_alone(tmp_path: Path) -> None:
    recipe = read_recipes(write(tmp_path, ROW))["a"]
    assert recipe.cross_entropy and recipe.double_softmax
    assert not recipe.but(activation="logits").double_softmax
    other = recipe.but(loss="no_such_loss")
    assert not other.cross_entropy and not other.double_softmax and not other.formulas_hold
    smoothed = recipe.but(label_smoothing=0.1)
    assert smoothed.double_softmax and recipe.formulas_hold and not smoothed.formulas_hold


@pytest.mark.parametrize(
    ("share", "epochs", "first"),
    [(0.0, 9, 1), (0.8, 200, 161), (0.8, 50, 41), (0.07, 100, 8), (0.9, 3, 3), (0.2, 3, 1)],
)
def test_when_what_is_deferred_acts(share: float, epochs: int, first: int) -> None:
    """As in the authors' code, whose 160 of 200, counted from 0, is the 161st."""
    recipe = Recipe.of("a", **GIVEN)
    assert recipe.but(defer_until=share).acts_from(epochs) == first
    assert recipe.formulas_hold and not recipe.but(defer_until=0.5).formulas_hold


def test_a_column_that_means_nothing_in_a_recipe_is_not_told(tmp_path: Path) -> None:
    sgd = read_recipes(write(tmp_path, ROW))["a"]
    adam = sgd.but(optimizer="Adam", momentum=0.0)
    assert difference_in_words(sgd, adam, TREATMENTS["optimizer"]) == "SGD with momentum 0.9"
    assert difference_in_words(adam, sgd, TREATMENTS["optimizer"]) == "Adam"
    assert difference_in_words(sgd.but(nesterov=True), adam, TREATMENTS["optimizer"]) == (
        "SGD with momentum 0.9, Nesterov yes"
    )
    assert sgd.takes("momentum") and not adam.takes("momentum") and adam.takes("lr")


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"type": "number", "description": "x", "treatment": "neutral"}, "column 'gamma': missing label"),
        ({"type": "number", "label": "gamma"}, "column 'gamma': missing treatment, description"),
        ({"label": "gamma", "treatment": "los", "description": "x"}, "found treatment 'los', allowed is activation, "),
    ],
)
def test_a_column_that_is_not_described_in_full_is_named(node: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Column("gamma", node)


NO_TRAINING = f"{HEADER} trained_as posthoc posthoc_tau tta"
EMPTY = " " * (len(HEADER.split(" ")) - 1)


def without_training(trained_as: str, posthoc: str = "", tau: str = "", tta: str = "", name: str = "b") -> str:
    return f"{name} 1{EMPTY}{trained_as} {posthoc} {tau} {tta}"


def test_a_row_without_training_has_the_hyperparameters_of_another_one(tmp_path: Path) -> None:
    rows = [without_training("a", "temperature"), f"{ROW}    ", without_training("a", tta="hflip", name="c")]
    recipes = read_recipes(write(tmp_path, *rows, header=NO_TRAINING))
    assert list(recipes) == ["b", "a", "c"]
    b, a, c = recipes.values()
    assert (a.trains, b.trains, b.training, b.adjusted, c.adjusted) == (True, False, "a", True, False)
    assert a.deciding == b.deciding == c.deciding and a.of_training == c.of_training
    assert b.evaluation == {"evaluation.trained_as": "a", "evaluation.posthoc": "temperature"}
    assert a.evaluation == {} and b.reported is None
    assert difference_in_words(b, a, TREATMENTS["post-hoc adjustment"]) == "temperature scaling"
    assert HYPERPARAMETERS["evaluation.trained_as"].show("my_name") == "my_name"


def test_cells_of_a_row_without_training_may_say_what_the_other_one_has(tmp_path: Path) -> None:
    row = changed("experiment", "b") + " a logit_adjustment 0.5 "
    b = read_recipes(write(tmp_path, f"{ROW}    ", row, header=NO_TRAINING))["b"]
    assert b["evaluation.posthoc_tau"] == 0.5 and b.reported == 0.61


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (without_training("b", "temperature"), "trained_as': found 'b', the row itself; allowed is another experiment"),
        (without_training("aa", "temperature"), "found 'aa', an experiment that no table has; did you mean 'a'"),
        (without_training("c", "temperature"), "found 'c', a row without training itself; allowed: a$"),
        (
            without_training("a"),
            "found 'a', of which the row differs in nothing; allowed is a row with another posthoc",
        ),
        (without_training("a", "temperature", "2"), "posthoc_tau': found 2, which the post-hoc adjustment temperature"),
        (without_training("", "temperature"), "row 4, column 'optimizer': found ''"),
        (
            f"{changed('experiment', 'b')}  temperature  ",
            "posthoc': found temperature, which needs 'evaluation.trained",
        ),
        (
            f"{changed('experiment', 'b', changed('lr', '0.02'))} a temperature  ",
            "column 'lr': found 0.02, allowed is nothing: the row is trained as 'a', which has 0.01",
        ),
    ],
)
def test_a_wrong_row_without_training_is_explained(tmp_path: Path, row: str, message: str) -> None:
    table = write(tmp_path, f"{ROW}    ", without_training("a", "temperature", name="c"), row, header=NO_TRAINING)
    with pytest.raises(StudyError, match=message):
        read_recipes(table)


def test_another_tta_of_a_row_that_is_adjusted_is_refused(tmp_path: Path) -> None:
    row = without_training("a", "temperature", tta="hflip")
    with pytest.raises(StudyError, match="tta': found hflip, allowed is nothing: the predictions of 'a' are adjusted"):
        read_recipes(write(tmp_path, f"{ROW}    ", row, header=NO_TRAINING))


FROM_A_FILE = f"{HEADER} predictions trained_as"


def predictions_row(file: str = "theirs.csv", cells: str = EMPTY, last: str = "") -> str:
    return f"b 1{cells}{file} {last}"


def test_a_row_may_name_a_file_of_predictions_and_has_no_hyperparameters(tmp_path: Path) -> None:
    table = write(tmp_path, f"{ROW}  ", predictions_row("x/{seed}.csv"), header=FROM_A_FILE)
    a, b = read_recipes(table).values()
    assert from_file(b) and not b.trains and not b.adjusted and made_elsewhere(b.training)
    assert not from_file(a) and a.trains and "evaluation.predictions" not in a.deciding and a.evaluation == {}
    assert predictions_file(b, 7) == Path("x/7.csv")
    assert all(b.meant(name) is None for name in HYPERPARAMETERS if not name.startswith("evaluation."))
    assert b.but(case=3).hyperparameters == b.hyperparameters and not b.class_weights and not b.treats_imbalance
    place = rf"{table}, row 3, experiment 'b', column 'evaluation.predictions'"
    with pytest.raises(StudyError, match=f"^{place}: found x/0.csv, which is no"):
        check_predictions_files([a, b], [0], str(table))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (predictions_row("theirs.xlsx"), "found 'theirs.xlsx', allowed is the path of a .csv, .tsv or .parquet file"),
        (predictions_row("{who}.csv"), "found '{who}.csv', allowed is"),
        (
            predictions_row(last="a"),
            "column 'evaluation.trained_as': found a, allowed is nothing: the row's predictions",
        ),
        (f"{changed('experiment', 'b')} theirs.csv ", "column 'optimizer': found SGD, allowed is nothing"),
    ],
)
def test_a_wrong_row_with_predictions_is_explained(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(StudyError, match=re.escape(message)):
        read_recipes(write(tmp_path, f"{ROW}  ", row, header=FROM_A_FILE))


def test_nothing_starts_from_or_adjusts_predictions_of_a_file(tmp_path: Path) -> None:
    rows = f"{ROW}  ", predictions_row(), f"c 1{EMPTY} b"
    with pytest.raises(StudyError, match="found 'b', a row without training itself; allowed: a"):
        read_recipes(write(tmp_path, *rows, header=FROM_A_FILE))


def test_a_table_of_predictions_alone_needs_no_columns_of_a_training(tmp_path: Path) -> None:
    short = "experiment case predictions"
    (theirs,) = read_recipes(write(tmp_path, "theirs 8 theirs.csv", header=short)).values()
    assert from_file(theirs) and theirs.case == 8
    with pytest.raises(StudyError, match=r"row 3: missing column 'optimizer', 'lr', .*; found: experiment, case, eval"):
        read_recipes(write(tmp_path, "theirs 8 theirs.csv", "ours 8 ", header=short))
