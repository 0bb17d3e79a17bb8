"""JSON as COCO has it (`images`, `annotations`, `categories`), with one class per image; BoT-LT's without `images`.

Entry points:
    read_coco(path) -> Cells                               one row per image, joined on `image_id`
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from study.data.sources.tables import Cells
from study.errors import StudyError, naming_trouble

LABEL = "category"  # the column that the join adds
FORM = "an object with images, annotations and categories, as COCO's"
NOT_KEPT = ("width", "height", "im_width", "im_height", "license", "coco_url", "flickr_url", "url", "date_captured")


def read_coco(path: Path) -> Cells:
    """One row per image: its `file_name`, what else is said of it, and the class of its annotations as `category`.

    Rows keep the order of `images`; an image without an annotation has the class "".

    Raises:
        StudyError: the file is no such JSON; an annotation of an image or a category that is not there; annotations of
            one image that disagree.
    """
    content = _content(path)
    annotations = _frame(path, content, "annotations", ("image_id", "category_id"))
    categories = _categories(path, content)
    if "images" in content:
        images = _frame(path, content, "images", ("id", "file_name"))
    else:
        images = _without_images(path, annotations)
    content.clear()
    if (twice := images["id"].duplicated()).any():
        raise StudyError(
            f"{path}: two images have the id {images.loc[twice, 'id'].iloc[0]}; an id belongs to one image"
        )
    _check_join(path, annotations, images, categories)
    labels = annotations.drop_duplicates(["image_id", "category_id"])
    _refuse_several(path, labels, images, categories)
    of_image = labels.set_index("image_id")["category_id"]
    names = images["id"].map(of_image).map(lambda number: categories.get(number, str(number)), na_action="ignore")
    kept = [name for name in images.columns if name not in ("id", *NOT_KEPT) and _is_flat(images[name])]
    table = images[kept].map(lambda cell: "" if cell is None or cell != cell else str(cell)).astype("str")
    table[LABEL] = names.fillna("").astype("str")
    return Cells(path, table, 1)


def _content(path: Path) -> dict[str, Any]:
    try:
        with naming_trouble(path), path.open(encoding="utf-8-sig") as file:
            content = json.load(file)
    except ValueError as error:  # also what is not UTF-8
        raise StudyError(
            f"{path}: not readable as JSON ({error}); allowed is {FORM}, or JSON lines as .jsonl"
        ) from None
    if not isinstance(content, dict) or "annotations" not in content:
        found = ", ".join(map(repr, list(content)[:8])) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise StudyError(
            f"{path}: found {found}, allowed is {FORM}; rows of objects go into a file of JSON lines (.jsonl)"
        )
    return content


def _frame(path: Path, content: dict[str, Any], key: str, needed: tuple[str, ...]) -> pd.DataFrame:
    """A list of objects as a table, without the long cells of boxes and outlines."""
    rows = content.pop(key)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise StudyError(f"{path}: '{key}' is no list of objects, or empty; allowed is {FORM}")
    if key == "annotations":
        columns = [*needed, *(("fpath",) if "fpath" in rows[0] else ())]
        columns += ["file_name"] * ("file_name" in rows[0])
    else:
        columns = list(rows[0])
    if lacking := [name for name in needed if name not in rows[0]]:
        raise StudyError(f"{path}: '{key}' has no '{lacking[0]}'; found: {', '.join(map(repr, rows[0]))}")
    table = pd.DataFrame({name: [row.get(name) for row in rows] for name in dict.fromkeys((*needed, *columns))})
    empty = table[list(needed)].isna()
    if empty.any(axis=None):
        place = int(empty.any(axis=1).to_numpy().argmax())
        lacking_name = empty.columns[int(empty.iloc[place].to_numpy().argmax())]
        raise StudyError(f"{path}: '{key}', entry {place + 1} has no '{lacking_name}'")
    return table


def _categories(path: Path, content: dict[str, Any]) -> dict[Any, str]:
    """Name by id; empty if the file has no names."""
    if not content.get("categories"):
        return {}
    table = _frame(path, content, "categories", ("id", "name"))
    if (twice := table["name"].astype(str).duplicated()).any():
        name = table.loc[twice, "name"].iloc[0]
        raise StudyError(f"{path}: two categories are called '{name}'; give one of them another name")
    return dict(zip(table["id"], table["name"].astype(str), strict=True))


def _without_images(path: Path, annotations: pd.DataFrame) -> pd.DataFrame:
    """The images of BoT-LT, whose annotations have their paths."""
    name = next((column for column in ("fpath", "file_name") if column in annotations), None)
    if name is None:
        raise StudyError(f"{path}: neither 'images' nor paths (fpath) in the annotations; allowed is {FORM}")
    images = annotations[["image_id", name]].drop_duplicates()
    return images.rename(columns={"image_id": "id", name: "file_name"}).reset_index(drop=True)


def _check_join(path: Path, annotations: pd.DataFrame, images: pd.DataFrame, categories: dict[Any, str]) -> None:
    outside = ~annotations["image_id"].isin(images["id"])
    if outside.any():
        number = annotations.loc[outside, "image_id"].tolist()[0]
        raise StudyError(
            f"{path}: {int(outside.sum()):,} of {len(annotations):,} annotations are of images that the file does not "
            f"list, such as image_id {number!r}; the ids of images begin "
            f"{', '.join(map(repr, images['id'].head(3).tolist()))}"
        )
    unknown = ~annotations["category_id"].isin(list(categories))
    if categories and unknown.any():
        number = annotations.loc[unknown, "category_id"].tolist()[0]
        raise StudyError(
            f"{path}: {int(unknown.sum()):,} annotations are of a category that the file does not list, such as "
            f"category_id {number!r}; found: {', '.join(map(repr, list(categories)[:8]))}"
        )


def _refuse_several(path: Path, labels: pd.DataFrame, images: pd.DataFrame, categories: dict[Any, str]) -> None:
    several = labels[labels["image_id"].duplicated(keep=False)]
    if several.empty:
        return
    first = several["image_id"].iloc[0]
    classes = [categories.get(n, str(n)) for n in several.loc[several["image_id"] == first, "category_id"]]
    file = images.loc[images["id"] == first, "file_name"].iloc[0]
    raise StudyError(
        f"{path}: the image '{file}' has annotations of several classes ({', '.join(classes)}), as "
        f"{several['image_id'].nunique():,} of {len(images):,} images do; every image needs one class: data with "
        "several labels per image, or objects to be detected, are not read"
    )


def _is_flat(column: pd.Series) -> bool:
    """Whether the cells are text or numbers, by the first that is filled."""
    filled = column.dropna()
    return filled.empty or not isinstance(filled.iloc[0], list | dict)
