"""Images whose label may be wrong, with the given class and the one that the recipes agree on."""

from pathlib import Path

from study.names import EVALUATED_SPLITS
from study.report.figures.material import Material
from study.report.figures.style import GREY, drawing, headed, name, picture

SHOWN, IN_A_ROW = 24, 6


def label_hints(material: Material, path: str | Path) -> None:
    """The likeliest mistakes of tables/label_hints.csv, the first one at the upper left."""
    table = material.label_hints.head(SHOWN)
    rows = max(-(-len(table) // IN_A_ROW), 1)
    with drawing(path, 1.75 * IN_A_ROW, 0.75 + (2.35 * rows if len(table) else 0.6)) as figure:
        of = f" (the first {len(table)} of {len(material.label_hints):,})" if len(table) else ""
        headed(figure, f"Labels that may be wrong{of}")
        if table.empty:
            text = "None: on no image do most of the good, different recipes, two at least, agree against the label."
            figure.text(0.5, 0.3, text, ha="center", va="center", color=GREY)
            return
        position = {
            split: {image_id: k for k, image_id in enumerate(material.data.image_ids[split])}
            for split in EVALUATED_SPLITS
        }
        grid_of_axes = figure.subplots(rows, IN_A_ROW, squeeze=False).ravel()
        for axes in grid_of_axes:
            axes.set_axis_off()
        for axes, hint in zip(grid_of_axes, table.to_dict("records"), strict=False):
            split = hint["split"]
            picture(axes, material.data.images[split][position[split][hint["image_id"]]])
            head = f"label: {name(hint['label'], 17)}\nrecipes: {name(hint['recipes_say'], 15)}"
            axes.set_title(head, fontsize=8.5, loc="center", pad=3, linespacing=1.25)
            said = f"{hint['recipes_agree']:.0f} of {hint['recipes']:.0f} say so, p = {hint['p_recipes_say']:.2f}"
            copied = "\ncopy in training" if hint["in_training"] else ""
            below = f"{said}\nlabel: p = {hint['p_label']:.2f}, {split}{copied}"
            axes.text(0.5, -0.04, below, transform=axes.transAxes, ha="center", va="top", fontsize=7, color=GREY)
