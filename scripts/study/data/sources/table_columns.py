"""Which columns of a table are the image, the class, the split and the group: by their usual names, or as configured.

Entry points:
    columns_of(cells, settings) -> Columns
"""

from dataclasses import dataclass

from study.data.data_settings import TableSettings
from study.data.sources.column_names import plain, some_of, usual_columns
from study.data.sources.table_labels import one_hot_columns
from study.data.sources.tables import IMAGE_SUFFIXES, Cells
from study.errors import StudyError

NONE = "none"  # in the configuration: no such column, even if one has a usual name


class NoLabelError(StudyError):
    """A table without a column of classes."""


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are for.

    Attributes:
        image, split, group: names of columns, "" for none.
        label: one, or one for each class.
        kept: further ones, for the manifest.
        note: all that in a sentence.
    """

    image: str
    label: list[str]
    split: str
    group: str
    kept: list[str]
    note: str


def columns_of(cells: Cells, settings: TableSettings) -> Columns:
    """Find the columns.

    Raises:
        NoLabelError: no column with the class.
        StudyError: one that is configured or needed is not there; it names those that are.
    """
    usual = usual_columns(cells.table.columns)
    image = _named(cells, settings.image, "image") or next(iter(usual["image"]), "") or _of_files(cells)
    if not image:
        raise StudyError(
            f"{cells.path}: no column with the names of images; found: {cells.found()}. Name it (config key "
            "data.table.image)"
        )
    split, group = (
        "" if setting == NONE else _named(cells, setting, use) or next((n for n in usual[use] if n != image), "")
        for use, setting in (("split", settings.split), ("group", settings.group))
    )
    label = _label(cells, settings, [name for name in usual["label"] if name != image], {image, split, group})
    used = {image, split, group, *label}
    if settings.columns is None:
        kept = [name for name in cells.table.columns if name not in used]
    else:
        kept = [_named(cells, name, "columns") for name in settings.columns]
    unused = [name for use in ("image", "label", "group") for name in usual[use] if name not in used]
    return Columns(image, label, split, group, kept, _note(cells, image, label, split, group, unused))


def _named(cells: Cells, column: str | int | None, key: str) -> str:
    """The column that the configuration names, by name or by place; "" if it names none."""
    if column is None:
        return ""
    names = list(cells.table.columns)
    if isinstance(column, int) and column <= len(names):
        return str(names[column - 1])
    if column in names:
        return str(column)
    alike = [name for name in names if plain(name) == plain(str(column))] if isinstance(column, str) else []
    if len(alike) == 1:
        return str(alike[0])
    raise StudyError(f"{cells.path}: no column {column!r} (config key data.table.{key}); found: {cells.found()}")


def _of_files(cells: Cells) -> str:
    """The only column whose cells end as names of images do; of a table without header and such cells the first."""
    files = [n for n in cells.table.columns if cells.table[n].str.lower().str.endswith(IMAGE_SUFFIXES).all()]
    if len(files) == 1:
        return str(files[0])
    return "1" if cells.first == 1 and "1" in cells.table.columns and not files else ""


def _label(cells: Cells, settings: TableSettings, usual: list[str], others: set[str]) -> list[str]:
    if isinstance(settings.label, list):
        return [_named(cells, name, "label") for name in settings.label]
    if column := _named(cells, settings.label, "label"):
        return [column]
    if usual:
        return usual[:1]
    left = [name for name in cells.table.columns if name not in others]
    columns = one_hot_columns(cells, others) or (left if len(left) == 1 else [])
    if not columns:
        raise NoLabelError(
            f"{cells.path}: no column with the class; found: {cells.found()}. Name it, or the list of columns that "
            "have one class each (config key data.table.label)"
        )
    return columns


def _note(cells: Cells, image: str, label: list[str], split: str, group: str, unused: list[str]) -> str:
    parts = [f"images from the column '{image}'", f"classes from {some_of(map(repr, label))}"]
    parts += [f"splits from '{split}'"] * bool(split) + [f"groups from '{group}'"] * bool(group)
    others = f"; also there, and not used so: {', '.join(map(repr, unused))}" if unused else ""
    return f"{cells.path}: {len(cells.table):,} rows, {', '.join(parts)}{others}."
