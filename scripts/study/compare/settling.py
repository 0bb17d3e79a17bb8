"""What would settle a claim about recipes: the epochs, seeds and images that this study did not have.

Entry point:
    settling(comparison, claim, tests) -> str              in words; "" where nothing is left open
    cut_short(run) -> bool                                 whether the study's limit ended a training
"""

from collections.abc import Mapping
from typing import Any

from study.compare.comparison import Comparison, paired_differences
from study.compare.runs import RecipeRuns, Run
from study.compare.seeds_and_images import Variances, images_needed, network_images_needed, seeds_needed
from study.compare.verdicts import NOT_DISTINGUISHABLE, UNJUDGED
from study.names import COMPLETED
from study.recipe import listed


def settling(comparison: Comparison, claim: Mapping[str, Any], tests: int) -> str:
    """What would settle a claim.

    Epochs: of recipes that the study's limit ended and nothing else. Seeds: a single one says nothing about others. And
    where a difference is not distinguishable, as many seeds or test images as would find one as large as the measured
    one with the power of `study.compare.seeds_and_images`, were it the true one.

    Args:
        claim: a row of tables/conclusions.csv.
        tests: claims about pairs, among which Holm's correction shares the error.
    """
    groups = [comparison.recipes[name] for name in (claim["experiment_a"], claim["experiment_b"]) if name]
    if claim["verdict"] == UNJUDGED:
        return "other recipes: both of these failed"
    parts = [_epochs(groups)]
    if claim["verdict"] == NOT_DISTINGUISHABLE and len(groups) == 2:
        parts.append(_more_of_the_same(comparison, groups[0], groups[1], tests))
    if not groups[0].several_seeds:
        parts.append("further seeds: one says nothing about others")
    return "; ".join(part for part in parts if part)


def _epochs(groups: list[RecipeRuns]) -> str:
    cut = [group for group in groups if any(map(cut_short, group))]
    if not cut:
        return ""
    limits = {f"{group.first.record['max_epochs']} of {group.recipe.max_epochs}" for group in cut}
    return (
        f"further epochs: {listed([group.name for group in cut])} ended at the study's limit, {listed(sorted(limits))}"
    )


def cut_short(run: Run) -> bool:
    """Whether the study's limit ended a training, before the recipe's own and without early stopping."""
    return run.outcome == COMPLETED and run.record["max_epochs"] < run.recipe.max_epochs


def _more_of_the_same(comparison: Comparison, a: RecipeRuns, b: RecipeRuns, tests: int) -> str:
    difference = abs(a.accuracy("test") - b.accuracy("test"))
    if not difference:
        return "nothing that is known here: the measured difference is 0"
    variances, alpha = Variances.of([paired_differences(a, b)]), (1 - comparison.confidence) / tests
    images, unit = comparison.test_units, "test images" if comparison.units is None else "test groups"
    if not a.several_seeds:
        needed = network_images_needed(difference, variances, alpha)
        return f"for these networks {_rounded(needed)} {unit} in place of {images:,}"
    ways = {
        f"seeds in place of {len(a)}": seeds_needed(difference, variances, images, alpha),
        f"{unit} in place of {images:,}": images_needed(difference, variances, len(a), alpha),
    }
    reachable = [f"{_rounded(count)} {what}" for what, count in ways.items() if count is not None]
    return " or ".join(reachable) or "no number of seeds alone, and no number of test images alone"


def _rounded(count: int) -> str:
    """Up to two digits: what it is computed from is known no better, and fewer would not do."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return f"{-(-count // step) * step:,}"
