"""Look at a source of images and write the configuration of a study of it, each line with its reason.

Entry points:
    division(look, config, given) -> Division              how the images would be divided
    suggestions(look, config, division) -> [Suggestion]    what is suggested, and why
    configuration_text(look, suggested, path) -> str       the file
"""

import argparse
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from study.commands.configuration import ROOT, read_configuration, readable_layers
from study.commands.source_look import Look, look_at, planned_splits
from study.data.class_weights import class_weights
from study.data.data_settings import DIGITS, DataSettings
from study.data.sources.column_names import split_in_name
from study.data.splits import SplitSettings
from study.errors import StudyError
from study.names import SPLITS
from study.networks import NETWORKS
from study.planned import recipe_tables
from study.recipe import values_of
from study.recipe_table import map_cells, read_recipes
from study.settings import check_recipes, deciding, validate_config

WIDTH = 116  # characters of a line of the file
LARGEST_SIDE = 64  # pixels that are suggested for larger pictures
IMAGENET_SIDE = 224
OVERHANG = 12  # characters by which PyYAML, which breaks behind an item, mostly goes beyond its width
STEPS = 4  # that an epoch has at least with the largest batch
SHOWN_CLASSES = 40  # in the comment on top of the file
BALANCED_UP_TO = 10  # imbalance; beyond it the square root dampens the weight of a rare class's single image
ELONGATED = 1.2  # longer over shorter side, from which on squashing shows
NO_NAMES = ("metadata", "labels", "annotations", "data", "images", "dataset")  # of sources: the folder's says more


@dataclass(frozen=True)
class Suggestion:
    """A line of the configuration.

    Attributes:
        key: of the uppermost level or of a section, "data.image_size".
        value: as YAML has it.
        reason: in words; "" for none.
    """

    key: str
    value: Any
    reason: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("source", help="folder, zip, table, JSON, .npz or Parquet, as data.source names it")
    parser.add_argument("--study", help="name of the study, and of its file config/<name>.yaml; the source's without")
    parser.add_argument("--force", action="store_true", help="write over files that are there")
    parser.add_argument(
        "--config",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="what is known already, as Snakemake takes it: 'data={class_level: 1}' 'model={name: resnet18, width: 1}'",
    )


def run(arguments: argparse.Namespace) -> None:
    """Do what the command is for."""
    source, given = arguments.source, _given(arguments.config)
    if source == DIGITS:
        raise StudyError(f"'{DIGITS}' is the source of the default study, which config/config.yaml describes")
    named = given.pop("study", "")
    name = str(arguments.study or named or _name_of(source))
    path = Path("config", f"{name}.yaml")
    first = [Suggestion("study", name), Suggestion("data.source", source)]
    config = _configured([*first, *_flat(given)])
    _refuse_a_taken_name(name, path, arguments.force)
    try:
        look = look_at(DataSettings(**deciding(config, "data")))
    except StudyError as error:
        wrong = any(f"config key {one.key}: found" in str(error) for one in _flat(given))
        hint = "; give init the key along: --config 'data={…}'" * ("data." in str(error) and not wrong)
        raise StudyError(f"{error}{hint}") from None
    divided = division(look, config, given)
    table = Suggestion("experiments", config["experiments"])
    suggested = _with_given([first[0], table, *first[1:], *suggestions(look, config, divided)], given)
    config = _configured(suggested)
    tables = recipe_tables(config, ROOT)
    recipes = read_recipes(tables, study=values_of(config))
    check_recipes(config, recipes.values(), tables)
    sizes = [recipe.batch_size for recipe in recipes.values() if recipe.trains]
    why, own = _batches(path, tables, sizes, divided.training)
    if doubled := sum(recipe.double_softmax for recipe in recipes.values()):
        why += (
            f" {doubled} of them put a softmax in front of cross entropy, which applies one itself: the original "
            "study's mistake, kept on purpose. For photographs lay config/photographs.yaml over this file."
        )
    _refuse_to_overwrite([path, *own], arguments.force)
    named = [file.as_posix() for file in own]
    suggested[1] = replace(table, value=named[0] if len(named) == 1 else named or table.value, reason=why)
    text = configuration_text(look, suggested, path)
    path.parent.mkdir(exist_ok=True)
    for file, content in {**own, path: text}.items():
        file.write_text(content, encoding="utf-8")
    head = text.partition("\n\n")[0]
    print("\n".join(line.removeprefix("#").removeprefix(" ") for line in head.splitlines()))
    print(f"\nWritten: {', '.join(map(str, (path, *own)))}. Every line has its reason; change what you know better.")


def _name_of(source: str) -> str:
    """A name for the study: the source's, or that of its folder where the source is called like many."""
    path = Path(source).resolve()
    stem = path.name if path.is_dir() else path.stem
    if stem.lower() in NO_NAMES or split_in_name(stem):
        stem = path.parent.name
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-") or "mine"


def _given(words: Sequence[str]) -> dict[str, Any]:
    """What `--config` says, as Snakemake reads it: KEY=VALUE, the value in YAML."""
    given = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign:
            raise StudyError(f"--config: found '{word}', allowed is KEY=VALUE, such as 'data={{class_level: 1}}'")
        try:
            given[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise StudyError(f"--config: the value of '{key}' is not YAML ({' '.join(str(error).split())})") from None
    return given


def _flat(given: Mapping[str, Any]) -> list[Suggestion]:
    """Each key of the uppermost level, and each key of a section, by itself."""
    flat: dict[str, Any] = {}
    for key, value in given.items():
        is_section = isinstance(value, dict) and key != "cases"
        flat |= {f"{key}.{name}": inner for name, inner in value.items()} if is_section else {key: value}
    return [Suggestion(key, value, "As given to init.") for key, value in flat.items()]


def _with_given(suggested: Sequence[Suggestion], given: Mapping[str, Any]) -> list[Suggestion]:
    """With what is given in the place of what is suggested."""
    said = {one.key: one for one in _flat(given)}
    return [said.pop(one.key, one) for one in suggested] + list(said.values())


def _nested(suggested: Sequence[Suggestion]) -> dict[str, Any]:
    layer: dict[str, Any] = {}
    for one in suggested:
        section, _, name = one.key.rpartition(".")
        (layer.setdefault(section, {}) if section else layer)[name] = one.value
    return layer


def _configured(suggested: Sequence[Suggestion]) -> dict[str, Any]:
    """The whole configuration, checked.

    Raises:
        StudyError: a key or value that the schema does not allow.
    """
    config = read_configuration(_nested(suggested))
    validate_config(config)
    return config


def _refuse_a_taken_name(name: str, path: Path, force: bool) -> None:
    _refuse_to_overwrite([path], force)
    others = {*Path("config").glob("*.yaml"), *(ROOT / "config").glob("*.yaml")}
    for other, layer in readable_layers(file for file in others if file.resolve() != path.resolve()).items():
        if layer.get("study") == name:
            raise StudyError(
                f"study '{name}' is that of {other}, and its results would be in one folder with those of this one; "
                "name another (--study)"
            )


def _refuse_to_overwrite(files: Sequence[Path], force: bool) -> None:
    for file in files:
        if file.exists() and not force:
            raise StudyError(f"{file}: exists already; --force writes over it, --study takes another name")


@dataclass(frozen=True)
class Division:
    """How the images would be divided.

    Attributes:
        method: of `split.method`.
        torn_groups: of `data.torn_groups`.
        reason: in words.
        splits: of each image, index as `Look.images`; None if no method divides them as they are.
    """

    method: str
    torn_groups: str
    reason: str
    splits: pd.Series | None

    @property
    def training(self) -> int:
        """Images that training has; 0 if it is not known."""
        return 0 if self.splits is None else int((self.splits == "train").sum())


def division(look: Look, config: Mapping[str, Any], given: Mapping[str, Any]) -> Division:
    """The source's own split where it has one that can be used, else one at random."""
    brought = [name for name in look.splits if name]
    asked = (given.get("split") or {}).get("method")
    torn_groups = (given.get("data") or {}).get("torn_groups") or ("drop" if look.torn_groups else "stop")
    sizes = ", ".join(f"{name or 'none'} {count:,}" for name, count in look.splits.items())
    why = "The source brings no split of its own."
    if asked:
        why = ""
    elif {"train", "test"} <= set(brought) and "" not in look.splits:
        try:
            splits = _divided(look, config, "official", torn_groups)
        except StudyError as error:
            why = f"The source's own split ({sizes}) cannot be used: {error}."
        else:
            validation = "" if "val" in brought else " Validation images are taken from its training images."
            reason = f"The source brings its own split ({sizes}), which others have used too.{validation}"
            return Division("official", torn_groups, reason, splits)
    elif brought:
        why = f"The source's own split ({sizes}) has not both training and test images, or leaves some without one."
    method = asked or "stratified"
    fractions = "/".join(f"{100 * config['split'][name]:g}" for name in SPLITS)
    how = f"{why} Every class is divided {fractions} at random" + ", groups whole" * _has_groups(look)
    reason = f"{how}; `split.train`, `val` and `test` are the fractions." if method == "stratified" else ""
    try:
        return Division(method, torn_groups, reason.strip(), _divided(look, config, method, torn_groups))
    except StudyError as error:
        return Division(method, torn_groups, f"{reason} Warning: it will stop as things are: {error}.".strip(), None)


def _divided(look: Look, config: Mapping[str, Any], method: str, torn_groups: str) -> pd.Series:
    data = DataSettings(**deciding(dict(config), "data") | {"torn_groups": torn_groups})
    return planned_splits(look, data, SplitSettings(**config["split"] | {"method": method}))


def _has_groups(look: Look) -> bool:
    return bool((look.images["group"] != "").any())


def suggestions(look: Look, config: Mapping[str, Any], divided: Division) -> list[Suggestion]:
    """What the source suggests, in the order of the file."""
    suggested = [_expected(look), _image_size(look, config)]
    if look.torn_groups:
        reason = (
            f"{look.torn_groups:,} groups have images in several of the source's splits: `drop` keeps their images in "
            "the test (else validation) part alone, `keep` leaves them torn, `split.method: stratified` divides anew."
        )
        suggested.append(Suggestion("data.torn_groups", divided.torn_groups, reason))
    return [*suggested, Suggestion("split.method", divided.method, divided.reason), _weights(look, config, divided)]


def _expected(look: Look) -> Suggestion:
    classes = {str(label): int(count) for label, count in look.counts["images"].sort_index().items()}
    splits = {name: count for name, count in look.splits.items() if name}
    return Suggestion(
        "data.expected",
        {"classes": classes} | ({"splits": splits} if splits else {}),
        "What was counted. If the source ever holds something else, log and report say so.",
    )


def _image_size(look: Look, config: Mapping[str, Any]) -> Suggestion:
    model = str(config["model"]["name"])
    network = NETWORKS.get(model)  # none of timm's: what sizes those take is seen when they are built
    least = network.least if network else 8
    step = least if network and network.multiples else 1
    side = look.side
    if not look.sizes:
        return Suggestion(
            "data.image_size", config["data"]["image_size"], "No image could be read; this is the default."
        )
    seen = f"The shorter side of {len(look.sizes):,} images looked at is {side} pixels (median)"
    if step > 1 and config["model"]["weights"] == "imagenet":
        return Suggestion("data.image_size", IMAGENET_SIDE, f"{model} with ImageNet's weights takes no other size.")
    if side <= least:
        size, reason = least, f"{seen}; {model} takes {least} at least, so smaller ones are enlarged."
    elif side <= LARGEST_SIDE:
        size = side // step * step
        reason = f"{seen}: as they are, nothing is made up; {model} takes {least} at least."
    else:
        size = max(least, LARGEST_SIDE // step * step)
        factor = round((IMAGENET_SIDE / size) ** 2)
        reason = (
            f"{seen}. A first study of all recipes at {size}; at {IMAGENET_SIDE}, ImageNet's size, it takes {factor} "
            f"times as long. {model} takes {least} at least."
        )
    if look.aspect >= ELONGATED:
        reason += (
            f" The longer side is {look.aspect:.3g} times that, squashed to the square; `keep_aspect: true` cuts out "
            "the middle instead."
        )
    return Suggestion("data.image_size", size, reason)


def _weights(look: Look, config: Mapping[str, Any], divided: Division) -> Suggestion:
    """The scheme of class weights, by the imbalance of the training images."""
    counts = look.images["label"].value_counts()
    if divided.splits is not None:
        counts = look.images.loc[divided.splits == "train", "label"].value_counts()
    ratio = counts.max() / counts.min()
    scheme = "balanced" if ratio <= BALANCED_UP_TO else "sqrt_inverse"
    beta = config["loss"]["effective_number_beta"]

    def spread(name: str) -> str:
        weights = class_weights(counts.tolist(), name, beta)
        return f"{weights.max() / weights.min():.3g}"

    of_whom = "training images" if divided.splits is not None else "images"
    seen = f"Of the recipes with a weighted loss: {_imbalance(ratio, of_whom)}."
    if scheme == "balanced":
        reason = f"{seen} With scikit-learn's weights every class counts alike."
    else:
        reason = (
            f"{seen} `balanced` would give a rare image {spread('balanced')} times the weight of a common one, its "
            f"square root gives {spread(scheme)} times, `complement`, the default, {spread('complement')} times."
        )
    if ratio >= BALANCED_UP_TO:
        reason += " `experiments: config/imbalance.tsv` compares seventeen treatments of imbalance."
    return Suggestion("loss.class_weights", scheme, reason)


def _imbalance(ratio: float, what: str) -> str:
    if ratio < 1.005:
        return "all classes are of one size"
    return f"the largest has {ratio:.3g} times the {what} of the smallest"


def _batches(path: Path, tables: Sequence[str], sizes: Sequence[int], training: int) -> tuple[str, dict[Path, str]]:
    """Why the batches are as they are, and tables of the study's own where those of `tables` are too large for it.

    Args:
        path: of the configuration.
        sizes: images of a batch, of every recipe that trains.
        training: images that training has; 0 if it is not known.
    """
    if not sizes:
        return "No recipe is trained.", {}
    found = " and ".join(map(str, sorted(set(sizes))[:3])) if len(set(sizes)) <= 3 else f"{min(sizes)} to {max(sizes)}"
    seen = f"{len(sizes)} recipes with batches of {found} images"
    count = -(-training // max(sizes))
    steps = f"an epoch of {training:,} training images has {count:,} step{'s' * (count > 1)} of the largest"
    divisor = 1
    while training and -(-training * divisor // max(sizes)) < STEPS and min(sizes) // divisor > 1:
        divisor *= 2
    if divisor == 1:
        return f"{seen}; {steps}." if training else f"{seen}.", {}
    own = {path.with_name(f"{path.stem}_{Path(table).stem}.tsv"): _divided_batches(table, divisor) for table in tables}
    return (
        f"{seen} in {', '.join(Path(table).name for table in tables)}; {steps}, so here they are {divisor} times "
        f"smaller: an epoch has {STEPS} steps or more. Learning rates are as they were.",
        own,
    )


def _divided_batches(table: str, divisor: int) -> str:
    """A table of recipes with smaller batches, as its comments then say as well; rows without training have none."""
    return map_cells(
        Path(table),
        "batch_size",
        lambda cell: str(max(1, int(cell) // divisor)),
        lambda text: re.sub(r"(.*batch size )(\d+)", lambda found: f"{found[1]}{int(found[2]) // divisor}", text),
    )


def configuration_text(look: Look, suggested: Sequence[Suggestion], path: Path) -> str:
    """The file: what was seen on top, and every suggestion under its reason."""
    source = next(one.value for one in suggested if one.key == "data.source")
    lines = [
        *_comment(f"{source}, as `python scripts/study init` saw it, laid over config/config.yaml:"),
        f"#   snakemake --cores all --resources gpu=1 --configfile {path.as_posix()}",
        *(line for sentence in _seen(look) for line in _comment(sentence.removeprefix(f"{source}: "))),
        *(f"#   {line}".rstrip() for line in _table_of_classes(look)),
    ]
    section = ""
    for one in sorted(suggested, key=lambda one: _order(one.key, suggested)):
        above, _, name = one.key.rpartition(".")
        if above != section or not above:
            lines += [""] + [f"{above}:"] * bool(above)
            section = above
        indent = "  " * bool(above)
        lines += [f"{indent}{line}" for line in _comment(one.reason, WIDTH - len(indent))]
        lines += [f"{indent}{line}" for line in _yaml(name, one.value, WIDTH - len(indent))]
    return "\n".join(lines) + "\n"


def _yaml(name: str, value: Any, width: int) -> list[str]:
    """A key and its value, with what lies innermost in brackets."""
    style = None if isinstance(value, dict | list) else False
    text = yaml.safe_dump(
        {name: value}, allow_unicode=True, sort_keys=False, default_flow_style=style, width=width - OVERHANG
    )
    return text.splitlines()


def _order(key: str, suggested: Sequence[Suggestion]) -> tuple[bool, int]:
    """Keys of the uppermost level first, then sections in the order of their first key."""
    sections = list(dict.fromkeys(one.key.rpartition(".")[0] for one in suggested))
    section = key.rpartition(".")[0]
    return bool(section), sections.index(section)


def _comment(sentence: str, width: int = WIDTH) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(sentence, width - 2, break_long_words=False, break_on_hyphens=False)]


def _seen(look: Look) -> Iterator[str]:
    """What was seen, in sentences."""
    yield f"Read as {look.form}."
    yield from look.notes
    if look.ignored:
        yield f"Not read as images of a class: {look.ignored}."
    counts = look.counts["images"]
    yield (f"{counts.sum():,} images of {len(counts):,} classes; {_imbalance(look.imbalance, 'images')}.")
    if look.numbered and look.nameable:
        yield "Classes are numbers: `class_names: {0: …, 1: …}` in the section `data` gives them names."
    if look.sizes:
        widths, heights = zip(*look.sizes, strict=True)
        sizes = f"{min(widths)}×{min(heights)} to {max(widths)}×{max(heights)} pixels"
        if len(set(look.sizes)) == 1:
            sizes = f"all {widths[0]}×{heights[0]} pixels"
        yield f"Of them {len(look.sizes):,} were looked at: {sizes}, {look.gray:,} grayscale."
    if look.unreadable:
        yield f"Warning: {len(look.unreadable)} of those looked at cannot be read, such as {look.unreadable[0]}."
    if _has_groups(look):
        groups = look.images.loc[look.images["group"] != "", "group"]
        yield (
            f"{groups.nunique():,} groups of up to {groups.value_counts().max():,} images, which stay together and are "
            "the unit of all statistics."
        )
    if look.columns:
        yield f"Kept beside, for scores by subgroup: {', '.join(look.columns)}."


def _table_of_classes(look: Look) -> list[str]:
    """Images of each class, in all and in each split that the source brings; of many classes both ends."""
    counts = look.counts
    if set(look.splits) == {""}:
        counts = counts[["images"]]
    left_out = len(counts) - SHOWN_CLASSES
    half = SHOWN_CLASSES // 2
    shown = counts if left_out <= 0 else pd.concat([counts.head(half), counts.tail(half)])
    shown = shown.rename(columns={"": "no split"}).rename_axis(index=None, columns=None)
    lines = shown.map("{:,}".format).to_string().splitlines()
    if left_out > 0:
        lines.insert(1 + half, f"… {left_out:,} classes more …")
    return lines
