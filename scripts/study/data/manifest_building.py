"""Make the manifest: every image of the source with its class, split, content hash and fate, and the audit."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from study.data.audit import audit, differences
from study.data.data_settings import DataSettings, Expected
from study.data.decode import FULL_DEPTH, holds_colour, pixels_sha256, resize
from study.data.file_kinds import UnreadableError
from study.data.groups import torn
from study.data.leftovers import in_words
from study.data.manifest import MANIFEST_COLUMNS, ROWS_AT_ONCE
from study.data.near_copies import PAIR_COLUMNS, SIDE, details_of, near_copies, near_groups
from study.data.sources import Source, open_source
from study.data.splits import PRIORITY, SplitSettings, assign_splits, check_official, torn_in_words
from study.errors import StudyError
from study.progress import in_parallel

SHOWN = 10  # unreadable files named in an error
# What is seen of one image, with the types of a table of many: text in Arrow's arrays takes a third of Python's.
SEEN = {
    **{"sha256": "str", "width": "Int64", "height": "Int64", "mode": "str", "largest": "Int64"},
    **{"colour": "bool", "blank": "bool", "unreadable": "str"},
}
DEPTHS = (8, 10, 12, 14, FULL_DEPTH)  # bits that samples of 16 bits may use
DARK = 4  # bits below the study's depth: a picture that does not reach them shows 16 of 256 gray levels at most


def build_manifest(
    data: DataSettings,
    split: SplitSettings,
    workers: int,
    expected: Expected | None = None,
    report: Callable[[str], None] = print,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read every image, resolve what the audit finds as configured, and split.

    Args:
        data, split: the sections of the configuration.
        workers: processes that decode.
        expected: what the source should be; None for anything.
        report: called with lines on how the source was read, what of it was not, and whether it is something else
            than expected, before anything that may fail for these reasons, and on how images of 16 bits are read.

    Returns:
        The manifest, one row per image sorted by image_id, `MANIFEST_COLUMNS` and what else the source says of its
        images (`Source.columns`), all strings except width and height (Int64, missing for unreadable files): status is
        "kept" or "dropped", reason says why it was dropped, split is empty for dropped ones, duplicate_group is a
        number shared by exact copies and empty for an image without any, group what the source says of images that
        belong together, near_duplicate_group a number shared by all that a chain of near copies joins (and their exact
        copies; empty where near copies are not looked for), sha256 the hash of the pixels as they are packed (see
        `study.data.decode.pixels_sha256`), bit_depth the bits that a file with samples of 16 bits is taken to use
        (empty for any other), original_split the source's own. And the audit, as `study.data.audit.audit` describes it,
        with the differences from what is expected, sentences, under "expected".

    Raises:
        StudyError: wrong source, too many unreadable files, samples beyond data.bit_depth, or classes too small.
    """
    source = open_source(data)
    for note in source.notes:
        report(note)
    if source.ignored:
        report(f"{data.source}: not read as images of a class: {in_words(source.ignored)}")
    unexpected = differences(data.source, source.entries, expected or Expected())
    if unexpected:
        report(
            f"Warning: {data.source} is not the data that the configuration expects (config keys data.expected and "
            "data.sha256; null accepts any):" + "".join(f"\n  {sentence}" for sentence in unexpected)
        )
    if split.method == "official":
        check_official({entry.split for entry in source.entries}, source.notes)
    images, pairs = inspect(source, data, workers, report)
    _check_unreadable(images, data)
    images = _oversampled(_resolved(images, data, split, pairs), data)
    kept = images[images["status"] == "kept"]
    _check_classes(images, kept)
    near = kept["near_duplicate_group"] if data.duplicates != "keep" else ""
    assigned = assign_splits(kept.assign(copies=_copies(kept, data), near=near), split, data.torn_groups, pairs)
    images["split"] = assigned["split"].reindex(images.index, fill_value="")
    out = assigned.index[assigned["split"] == ""]
    images.loc[out, "status"] = "dropped"
    images.loc[out, ["reason", "cause"]] = assigned.loc[out, ["reason", "cause"]]
    apart = torn(images["group"], images["split"])
    if apart.any():
        report(
            f"Warning: {torn_in_words(images[apart])}: kept so (config key data.torn_groups), so validation and test "
            "scores may rest on memory"
        )
    images = images.sort_values("image_id", ignore_index=True)
    audited = audit(images, data, split, source.ignored, source.notes)
    manifest = images[list(MANIFEST_COLUMNS)]
    if source.columns:
        manifest = manifest.join(_columns(source).reindex(images["source_id"]).set_index(images.index))
    return manifest, audited | {"expected": unexpected}


def _columns(source: Source) -> pd.DataFrame:
    """What else the source says of its images, as text by image_id; a name that the manifest has is `source_<name>`."""
    names = {name: f"source_{name}" if name in MANIFEST_COLUMNS else name for name in source.columns}
    ids = [entry.image_id for entry in source.entries]
    return pd.DataFrame({names[name]: values for name, values in source.columns.items()}, index=ids, dtype="str")


def inspect(
    source: Source, data: DataSettings, workers: int, report: Callable[[str], None] = print
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decode every image once, and those of 16 bits once more if they turn out to use fewer.

    Returns:
        image_id, label, original_split, group, sha256, width, height, mode, largest (sample of a file of 16 bits),
        colour and blank (bool, of the pixels as they are packed), bit_depth, unreadable (why, or ""), and the audit's
        findings about each: duplicate_group, near_duplicate_group, contradictory, odd_size, odd_mode. And the pairs of
        near copies, as `study.data.near_copies.near_copies` gives them; none where they are not looked for.

    Raises:
        StudyError: a sample is beyond what data.bit_depth allows, or data.near_duplicates tells no copies apart.
    """

    details_from = None if data.near_duplicates is None else details_of  # with it processes load SciPy

    def look(entry_id: str, bit_depth: int = FULL_DEPTH) -> tuple[tuple[Any, ...], np.ndarray | None]:
        """The cells of one row of SEEN, and the details of the image where near copies are looked for."""
        try:
            picture = source.read(entry_id, bit_depth)
        except UnreadableError as error:
            return ("", None, None, "", None, False, False, str(error)), None
        pixels = resize(picture.image, data.stored_side, 1 if picture.image.mode == "L" else 3, data.keep_aspect)
        colour = holds_colour(pixels)
        if colour and data.channels == 1:
            pixels = resize(picture.image, data.stored_side, 1, data.keep_aspect)
        blank = bool((pixels == pixels[:, :1, :1]).all())
        size = picture.image.size
        cells = (pixels_sha256(pixels), *size, picture.mode, picture.largest, colour, blank, "")
        return cells, details_from(pixels) if details_from else None

    ids = [entry.image_id for entry in source.entries]
    details = np.zeros((len(ids) if details_from else 0, SIDE, SIDE), np.int8)
    images = _table(_taken(in_parallel("Reading images", look, ids, workers), range(len(ids)), details))
    images.insert(0, "image_id", pd.Series(ids, dtype="str"))
    images.insert(1, "label", pd.Series([entry.label for entry in source.entries], dtype="str"))
    images.insert(2, "original_split", pd.Series([entry.split for entry in source.entries], dtype="str"))
    images.insert(3, "group", pd.Series([entry.group for entry in source.entries], dtype="str"))
    images["bit_depth"] = ""
    wide = images.index[images["largest"].notna()]
    if len(wide):
        depth = _bit_depth(images.loc[wide], data, report)
        images.loc[wide, "bit_depth"] = str(depth)
        if depth < FULL_DEPTH:
            deeper = partial(look, bit_depth=depth)
            seen = in_parallel("Reading images of 16 bits", deeper, [ids[i] for i in wide], workers)
            again = _table(_taken(seen, wide, details))
            for column in ("sha256", "blank"):
                images.loc[wide, column] = again[column].to_numpy()
    readable = images["unreadable"] == ""
    images["duplicate_group"] = duplicate_groups(images["sha256"])
    labels = images[readable].groupby("sha256")["label"].transform("nunique")
    images["contradictory"] = labels.reindex(images.index, fill_value=1) > 1
    images["odd_size"] = readable & _differs(images["width"].astype(str) + "×" + images["height"].astype(str), readable)
    images["odd_mode"] = readable & _differs(images["colour"], readable)
    pairs = pd.DataFrame(columns=PAIR_COLUMNS)
    if data.near_duplicates is not None:
        pairs = near_copies(images["sha256"], details, data.near_duplicates, workers)
    images["near_duplicate_group"] = near_groups(images["sha256"], pairs)
    return images, pairs


def _taken(
    seen: Iterable[tuple[tuple[Any, ...], np.ndarray | None]], numbers: Iterable[int], details: np.ndarray
) -> Iterator[tuple[Any, ...]]:
    """The cells of the images of these numbers; their details are put where they belong."""
    for number, (cells, some) in zip(numbers, seen, strict=True):
        if some is not None:
            details[number] = some
        yield cells


def _table(seen: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows as a table of SEEN; of no more than ROWS_AT_ONCE are there Python objects at one time."""
    left = iter(seen)
    parts = iter(lambda: list(islice(left, ROWS_AT_ONCE)), [])
    tables = [pd.DataFrame(part, columns=list(SEEN)).astype(SEEN) for part in parts]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(SEEN)).astype(SEEN)


def _bit_depth(wide: pd.DataFrame, data: DataSettings, report: Callable[[str], None]) -> int:
    """Bits that the images of 16 bits use, one number for all of them, so that their brightness stays comparable."""
    largest = wide.loc[wide["largest"].idxmax()]
    needed = next(bits for bits in DEPTHS if largest["largest"] < 1 << bits)
    depth = needed if data.bit_depth == "auto" else int(data.bit_depth)
    if needed > depth:
        raise StudyError(
            f"{data.source}: '{largest['image_id']}' has samples up to {largest['largest']}, allowed are 0 to "
            f"{(1 << depth) - 1} with {depth} bits; set config key data.bit_depth to auto or {needed}, or remove it"
        )
    report(
        f"{len(wide)} images have samples of 16 bits, up to {largest['largest']}: read as {depth} bits, of which the "
        "upper 8 are kept (config key data.bit_depth)"
    )
    dark = wide[wide["largest"] < 1 << (depth - DARK)]
    if len(dark):
        first = dark.iloc[0]
        report(
            f"Warning: {len(dark)} of them are nearly black beside the others, such as '{first['image_id']}' with "
            f"samples up to {first['largest']}; if they were made with fewer bits, bring all to the same number"
        )
    return depth


def _differs(values: pd.Series, among: pd.Series) -> pd.Series:
    """Which values are not the most common one (the smallest of equally common ones)."""
    modes = values[among].mode()
    return values != modes.min() if len(modes) else pd.Series(False, index=values.index)


def duplicate_groups(hashes: pd.Series) -> pd.Series:
    """A number from 1, as text, for each hash that stands in several rows, by first appearance; "" for the others."""
    copies = hashes[(hashes != "") & hashes.duplicated(keep=False)]
    numbers = pd.Series(pd.factorize(copies)[0] + 1, index=copies.index).astype(str)
    return numbers.reindex(hashes.index, fill_value="")


def _check_unreadable(images: pd.DataFrame, data: DataSettings) -> None:
    unreadable = images[images["unreadable"] != ""]
    if len(unreadable) <= data.max_unreadable * len(images):
        return
    lines = [f"  {row.image_id}: {row.unreadable}" for row in unreadable.head(SHOWN).itertuples()]
    if len(unreadable) > SHOWN:
        lines.append(f"  and {len(unreadable) - SHOWN} more")
    raise StudyError(
        f"{data.source}: {len(unreadable)} of {len(images)} images are unreadable, allowed is a share of "
        f"{data.max_unreadable:g} (config key data.max_unreadable); repair or remove:\n" + "\n".join(lines)
    )


def _resolved(images: pd.DataFrame, data: DataSettings, split: SplitSettings, pairs: pd.DataFrame) -> pd.DataFrame:
    """Adds status, reason and cause (which policy dropped it): the first of these that applies to an image."""
    images = images.assign(status="kept", reason="", cause="")

    def drop(where: pd.Series, cause: str, reason: pd.Series | str) -> None:
        where = where & (images["status"] == "kept")
        images.loc[where, "reason"] = reason[where] if isinstance(reason, pd.Series) else reason
        images.loc[where, ["status", "cause"]] = ["dropped", cause]

    drop(images["unreadable"] != "", "unreadable", "unreadable: " + images["unreadable"])
    if data.blank == "drop":
        drop(images["blank"], "blank", "blank: every pixel has the same value")
    if data.odd_size == "drop":
        size = images["width"].astype(str) + "×" + images["height"].astype(str)
        drop(images["odd_size"], "odd_size", "odd size: " + size + " pixels")
    if data.odd_mode == "drop":
        kinds = images["colour"].map({True: "colour", False: "grayscale"})
        drop(images["odd_mode"], "odd_mode", "odd mode: " + kinds + ", and most are not (" + images["mode"] + ")")
    if data.contradictory == "drop":
        copies = images[images["contradictory"]]
        labels = copies.groupby("sha256")["label"].agg(lambda labels: ", ".join(sorted(set(labels))))
        reason = "contradictory: exact copies are labelled " + images["sha256"].map(labels).astype(str)
        drop(images["contradictory"], "contradictory", reason)
    if data.duplicates == "drop":
        drop(*_surplus_copies(images, split))
        drop(*_surplus_near_copies(images, split, pairs))
    return images


def _surplus_copies(images: pd.DataFrame, split: SplitSettings) -> tuple[pd.Series, str, pd.Series]:
    """All but one image of each group with one label: the test copy, else validation, else training, for official
    splits; the first by image_id otherwise."""
    copies = images[(images["duplicate_group"] != "") & ~images["contradictory"] & (images["status"] == "kept")]
    ordered = _first_to_stay(copies, split)
    first = ordered.drop_duplicates("sha256").set_index("sha256")["image_id"]
    surplus = ordered.index[ordered.duplicated("sha256")]
    where = pd.Series(images.index.isin(surplus), index=images.index)
    return where, "duplicates", "copy of image " + images["sha256"].map(first).astype(str)


def _surplus_near_copies(
    images: pd.DataFrame, split: SplitSettings, pairs: pd.DataFrame
) -> tuple[pd.Series, str, pd.Series]:
    """Every image that is a near copy of one that stays, of its own class; the order is that of `_surplus_copies`.

    Near copies of other classes stay, and end in one split: which of the labels is right is not known.
    """
    near: dict[str, list[tuple[float, str]]] = {}
    for pair in pairs.itertuples():
        near.setdefault(pair.first, []).append((pair.correlation, pair.second))
        near.setdefault(pair.second, []).append((pair.correlation, pair.first))
    staying: dict[tuple[str, str], str] = {}
    reasons = {}
    copies = images[(images["near_duplicate_group"] != "") & (images["status"] == "kept")]
    for image in _first_to_stay(copies, split).itertuples():
        here = [
            (score, staying[key]) for score, other in near[image.sha256] if (key := (other, image.label)) in staying
        ]
        if here:
            correlation, kept = max(here)
            reasons[image.Index] = f"near copy of image {kept} (correlation {correlation:.2f})"
        else:
            staying.setdefault((image.sha256, image.label), image.image_id)
    reason = pd.Series(reasons, dtype="str").reindex(images.index, fill_value="")
    return reason != "", "near_duplicates", reason


def _first_to_stay(copies: pd.DataFrame, split: SplitSettings) -> pd.DataFrame:
    """Copies in the order in which they may stay: by PRIORITY of their official splits, then by image_id."""
    rank = copies["original_split"].map({name: rank for rank, name in enumerate(PRIORITY)})
    return copies.assign(rank=rank if split.method == "official" else 0).sort_values(["rank", "image_id"])


def _oversampled(images: pd.DataFrame, data: DataSettings) -> pd.DataFrame:
    """Adds copies `<image_id>#2` … of the kept images of the classes to oversample."""
    images = images.assign(source_id=images["image_id"])
    parts = [images]
    for label, factor in data.oversample.items():
        kept = images[(images["label"] == label) & (images["status"] == "kept")]
        if kept.empty:
            classes = ", ".join(sorted(set(images["label"])))
            raise StudyError(f"config key data.oversample: no image of the class '{label}'; the classes are {classes}")
        parts += [kept.assign(image_id=kept["image_id"] + f"#{number}") for number in range(2, factor + 1)]
    images = pd.concat(parts, ignore_index=True)
    if (twice := images["image_id"].duplicated()).any():
        raise StudyError(
            f"an oversampled copy would be named '{images.loc[twice, 'image_id'].iloc[0]}', which exists already"
        )
    images["oversampled"] = images.index >= len(parts[0])
    return images.assign(duplicate_group=duplicate_groups(images["sha256"]))


def _copies(kept: pd.DataFrame, data: DataSettings) -> pd.Series:
    """What ends in one split together as copies, as a number: if copies are to be grouped, else each image by itself.

    A copy made by oversampling stays with its source, unless duplicates are kept as independent images.
    """
    grouped = kept["contradictory"].map({True: data.contradictory == "group", False: data.duplicates == "group"})
    alone = kept["image_id"]
    if data.duplicates != "keep":
        alone = kept["source_id"]
    names = ("pixels " + kept["sha256"]).where(grouped, "image " + alone)
    return pd.Series(pd.factorize(names)[0], index=kept.index)


def _check_classes(images: pd.DataFrame, kept: pd.DataFrame) -> None:
    for label in sorted(set(images["label"]) - set(kept["label"])):
        causes = images.loc[images["label"] == label, "cause"].value_counts()
        why = ", ".join(f"{count} {cause}" for cause, count in causes.items())
        raise StudyError(f"class '{label}': no image is left, {why}; add images, or remove the class")
