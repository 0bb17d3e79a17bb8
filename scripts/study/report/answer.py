"""The answer in words, for the terminal and for the first page of the report.

Entry points:
    headline(comparison) -> str                            one plain paragraph
    answer(comparison, escape, strong, baseline_told)      sentences
    chosen_otherwise(comparison, escape) -> str            what counting every class alike would have chosen
    caution(comparison) -> str                             what the tests can say, and what they could have found
    test_names(grouped) -> (tests, test, over)             what the tests are called
    some(names) -> str                                     names in a row, of many the first ones
    audit_facts(audit) -> sentences                        of what `study.data.audit` counted
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from study.compare.comparison import Comparison
from study.compare.points import in_points
from study.compare.power import GROUPS, IMAGES, SEEDS, UNKNOWN, found_in_words, power_table
from study.compare.runs import choose
from study.compare.statistics import level
from study.compare.verdicts import BETTER, NOT_BETTER, NOT_DISTINGUISHABLE, WORSE
from study.elsewhere import from_file

NAMED = 12  # names in a sentence
FEW_GROUPS = 60  # with fewer, intervals over groups cover less than they say: docs/STATISTICS.md


def plain(text: str) -> str:
    """Text on one line."""
    return " ".join(str(text).split())


def headline(comparison: Comparison) -> str:
    """Which recipe wins, how sure that is, and what failed: one paragraph of plain text."""
    return " ".join(answer(comparison, plain, lambda text: text))


def answer(
    comparison: Comparison,
    escape: Callable[[str], str],
    strong: Callable[[str], str],
    baseline_told: bool = False,
) -> list[str]:
    """The answer as sentences: the winner, what it cannot be told apart from, what is better or worse, what failed.

    Args:
        escape: of names and percent signs, for the page that the sentences go to.
        strong: puts text in bold there.
        baseline_told: whether the reader knows the baseline's scores, so that only what is not better is named.
    """
    groups, best, confidence = comparison.recipes, comparison.best, comparison.confidence
    low, high = best.interval("test")
    images = f"{comparison.test_images:,} test images"
    if comparison.units is not None:
        images += f" of {comparison.test_units:,} independent groups"
    over = f"over {len(best)} seeds and {images}" if best.several_seeds and not best.one_network else f"from {images}"
    opening = f"{strong(escape(best.name))} is the best recipe of {len(groups)}"
    if all(group.failed for group in groups.values()):
        opening = f"Every recipe failed; {strong(escape(best.name))} is merely the best of them"
    if len(groups) == 1:
        opening = f"{strong(escape(best.name))} is the only recipe"
    val, test = best.accuracy("val"), best.accuracy("test")
    chosen = "with a" if len(groups) == 1 else "chosen by its"
    sentences = [
        f"{opening}: {chosen} validation accuracy of {val:.1%}, "
        f"it classifies {strong(f'{test:.1%}')} of the test images correctly "
        f"({level(confidence)} interval {low:.1%} to {high:.1%}, {over}).".replace("%", escape("%"))
    ]
    sentences += [_against_the_baseline(comparison, escape, baseline_told), chosen_otherwise(comparison, escape)]
    sentences += _verdicts(comparison, escape)
    failed: dict[str, list[str]] = {}
    for group in groups.values():
        if group.failure:
            failed.setdefault(group.failure, []).append(escape(group.name))
    sentences += [f"{outcome.capitalize()}: {some(lost)}." for outcome, lost in failed.items()]
    return [sentence for sentence in sentences if sentence]


def some(names: Sequence[str]) -> str:
    """Names in a row; of more than `NAMED` the first ones and how many more there are."""
    if len(names) <= NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: NAMED - 1])} and {len(names) - NAMED + 1:,} more"


def _verdicts(comparison: Comparison, escape: Callable[[str], str]) -> list[str]:
    """What the best recipe cannot be told apart from, what is better or worse, and in how many tiers."""
    names: dict[str, list[str]] = {}
    for group in sorted(comparison.recipes.values(), key=lambda group: -group.accuracy("val")):
        if group is not comparison.best and not group.failed:
            names.setdefault(group.verdict, []).append(escape(group.name))
    sentences = []
    for verdict, words in (
        (NOT_DISTINGUISHABLE, "Not distinguishable from it"),
        (BETTER, "Better on the test images, though validation chose otherwise"),
        (WORSE, "Worse"),
    ):
        if verdict in names:
            count = f" ({len(names[verdict]):,} recipes)" if len(names[verdict]) > NAMED else ""
            sentences.append(f"{words}{count}: {some(names[verdict])}.")
    tiers = Counter(group.tier for group in comparison.recipes.values() if group.tier is not None)
    if len(tiers) > 2:
        sizes = [f"{tiers[tier]:,}" for tier in sorted(tiers)]
        sentences.append(f"The tests make {len(tiers)} tiers of them, the best first, of {some(sizes)} recipes.")
    return sentences


def _against_the_baseline(comparison: Comparison, escape: Callable[[str], str], told: bool) -> str:
    """What always answering the largest class reaches, and which recipes that did not fail are not better."""
    if (baseline := comparison.baseline) is None:
        return ""
    answering = escape(f"always answering '{baseline.name}'")
    scores = escape(f"{baseline.accuracy['test']:.1%} of the test images right")
    balanced = escape(f"balanced accuracy {baseline.balanced_accuracy['test']:.1%}")
    of_best = escape(f"{comparison.best.score('test', 'balanced_accuracy'):.1%}")
    scores_told = (
        f"The baseline, {answering}, the largest class in training, has {scores} ({balanced}, that of "
        f"{escape(comparison.best.name)} {of_best})."
    )
    groups = [group for group in comparison.recipes.values() if not group.failed]
    lost = [escape(group.name) for group in groups if comparison.vs_baseline(group) == NOT_BETTER]
    worse = ""
    if len(lost) > 1 and len(lost) == len(groups):
        worse = f"No recipe is better than {answering}."
    elif lost:
        worse = f"Not better than {answering}: {some(lost)}."
    return " ".join(filter(None, ["" if told else scores_told, worse]))


# metric of metrics.json that counts every class alike -> it in sentences
CLASSES_ALIKE = {"balanced_accuracy": "balanced accuracy {:.1%}", "macro_f1": "macro-F1 {:.3f}"}


def chosen_otherwise(comparison: Comparison, escape: Callable[[str], str]) -> str:
    """Which recipe validation would have chosen by a score that counts every class alike, where that is another one."""
    best = comparison.best
    others: dict[str, list[str]] = {}
    for metric, words in CLASSES_ALIKE.items():
        chosen = choose(comparison.recipes.values(), metric)
        if not chosen.failed and chosen.score("val", metric) > best.score("val", metric):
            scores = f"{words}, not {words.rpartition(' ')[2]}"
            test = scores.format(chosen.score("test", metric), best.score("test", metric))
            others.setdefault(escape(chosen.name), []).append(escape(test))
    parts = [f"{name} ({'; '.join(scores)} on the test images)" for name, scores in others.items()]
    return f"Counting every class alike, validation would have chosen {' or '.join(parts)}." if parts else ""


def caution(comparison: Comparison, again: bool = False, power: str | None = None, test: str = "") -> str:
    """What the comparison can and cannot say, in words.

    Args:
        again: whether some recipes were trained with further seeds.
        power: what differences it finds, if not those between the best recipe and another.
        test: of networks of one seed, if not that of their accuracies.
    """
    seeds, (_, usual, over) = len(comparison.best), test_names(comparison.units is not None)
    other_seeds = "is told below, of some" if again else "is not measured"
    if len(comparison.recipes) == 1:
        text = f"One recipe alone, trained {'once' if seeds == 1 else f'with {seeds} seeds'}: there is nothing to test."
    elif seeds == 1:
        text = (
            "Each recipe was trained once. The tests compare these trained networks on the same test images "
            f"({test or usual}, Holm's correction); how much another seed would change {other_seeds}."
        )
    else:
        text = (
            f"Every recipe was trained with {seeds} seeds. The tests compare recipes, over further seeds and further "
            f"{over}: one p value for all runs of a pair, from the variance between seeds and between {over}, with "
            "Holm's correction."
        )
    found = _power(comparison) if power is None else power
    return f"{text} {_imported(comparison)}{_independent(comparison)}{found}".strip()


def _imported(comparison: Comparison) -> str:
    """Which recipes are predictions from a file, and what that leaves open; "" if none is."""
    names = [group.name for group in comparison.recipes.values() if from_file(group.recipe)]
    if not names:
        return ""
    constant = [group.name for group in comparison.recipes.values() if group.several_seeds and group.one_network]
    same = f" The same predictions count for every seed of {some(constant)}." if constant else ""
    return (
        f"The predictions of {some(names)} come from a file. Nothing is known here of how they were made, who chose "
        "them, and on which images: if the test images had a part in that, their scores are too good and the tests "
        f"mean nothing.{same} "
    )


def test_names(grouped: bool) -> tuple[str, str, str]:
    """What the tests of one seed are called, one of them, and what those of several seeds are over beside the seeds.

    Args:
        grouped: whether test images are of groups.
    """
    if grouped:
        return "Exact sign-flip tests of whole groups", "exact sign-flip test of whole groups", "groups"
    return "Exact McNemar tests", "exact McNemar test", "images"


def _independent(comparison: Comparison) -> str:
    """How many independent units the test images are; "" if each is one."""
    if comparison.units is None:
        return ""
    images, groups = comparison.test_images, comparison.test_units
    text = (
        f"The {images:,} test images are of {groups:,} groups (patients, objects, places; an image without one is its "
        "own), and images of a group are alike: intervals and tests are over groups, not images. "
    )
    if groups < FEW_GROUPS:
        text += f"{groups} groups are few: intervals are too narrow, most of all those by bootstrap. "
    return text


def _power(comparison: Comparison) -> str:
    """The smallest difference that the study finds, and what a wished one would take; "" for one recipe."""
    table = power_table(comparison)
    if table.empty:
        return ""
    smallest = float(table["difference"].iloc[0])
    of = "between two of these networks" if len(comparison.best) == 1 else "between the best recipe and another"
    text = found_in_words(of, smallest)
    wished = table[table["difference"] < smallest]
    if wished.empty:
        return text
    difference = wished["difference"].max()
    needs = wished[wished["difference"] == difference].set_index("question")["answer"]
    parts = []
    if (answer := needs[SEEDS]) != UNKNOWN:
        parts.append(f"with these test images {answer}")
    more = needs[IMAGES if comparison.units is None else GROUPS]
    parts.append(f"with {'this seed' if len(comparison.best) == 1 else 'these seeds'} {more}")
    return f"{text} To find {in_points(difference)}: {', '.join(parts)}."


def audit_facts(audit: Mapping[str, Any]) -> list[str]:
    """What `audit.json` says, as plain sentences; findings that number zero are left out.

    Args:
        audit: as returned by `study.data.manifest_building.build_manifest`.
    """
    found, done, leakage = audit["found"], audit["done"], audit["leakage"]
    facts = list(audit["expected"])
    facts.append(f"{audit['source']['images']:,} images in the source, {audit['kept']['images']:,} used.")
    if wide := audit["source"].get("bit_depth"):
        facts.append(
            f"{wide['images']:,} images have samples of 16 bits, {wide['largest']:,} at most; they are read as "
            f"{wide['bits']} bits."
        )
    if found["duplicate_groups"]:
        contradictory = f", {found['contradictory_groups']:,} groups of them with contradictory labels"
        facts.append(
            f"{found['duplicate_images']:,} images have exact copies, in {found['duplicate_groups']:,} groups"
            + (contradictory if found["contradictory_groups"] else "")
            + f" ({_policy(done['duplicates'])}; contradictory ones: {_policy(done['contradictory'])})."
        )
    if near := audit.get("near_copies"):
        facts += _near_copy_facts(near, done["near_duplicates"])
    if groups := audit.get("groups"):
        facts += _group_facts(groups, done["torn_groups"])
    for name in ("unreadable", "blank", "odd_size", "odd_mode"):
        if found[name]:
            facts.append(f"{found[name]:,} images {FINDINGS[name]} ({_policy(done[name])}).")
    if done["oversampled"]:
        added = ", ".join(f"{count:,} of {name}" for name, count in done["oversampled"].items())
        facts.append(f"Copies added before the split: {added}.")
    for name, words in (("official", "In the source's own split"), ("final", "In the split used here")):
        if leakage[name]:
            images = leakage[name]["val"]["images"] + leakage[name]["test"]["images"]
            total = leakage[name]["total"]
            copied = f"{total:,} of {images:,} validation and test images have an exact copy in training"
            near = sum(audit["near_copies"]["leakage"][name].values()) if audit.get("near_copies") else None
            facts.append(f"{words}, {copied}{'' if near is None else f', {near:,} an exact or a near one'}.")
    return facts


def _near_copy_facts(near: Mapping[str, Any], done: Mapping[str, Any]) -> list[str]:
    """What the audit says of near copies."""
    if not near["groups"]:
        return [f"No image has a near copy (correlation of details of at least {near['correlation']:g})."]
    mixed = f", {near['of_several_classes']:,} of them of several classes" if near["of_several_classes"] else ""
    return [
        f"{near['images']:,} images have near copies (correlation of details of at least {near['correlation']:g}), in "
        f"{near['groups']:,} groups{mixed}, {near['largest']:,} images in the largest ({_policy(done)})."
    ]


def _group_facts(groups: Mapping[str, Any], done: Mapping[str, Any]) -> list[str]:
    """What the audit says of groups (patients, objects, places)."""
    mixed = f"; {groups['of_several_classes']:,} of them show several classes" if groups["of_several_classes"] else ""
    units = {name: of["groups"] + of["ungrouped"] for name, of in groups["splits"].items()}
    facts = [
        f"{groups['images']:,} images are of {groups['groups']:,} groups, {groups['largest']:,} of the largest{mixed}. "
        f"Training, validation and test have {units['train']:,}, {units['val']:,} and {units['test']:,} independent "
        "units (groups, and images without one)."
    ]
    if across := groups["across_official_splits"]:
        facts.append(f"{across:,} groups have images in several official splits ({_policy(done)}).")
    if torn := groups["torn"]:
        facts.append(
            f"{torn:,} groups have images in several of the splits used here, so scores may rest on memory "
            "(config key data.torn_groups)."
        )
    return facts


FINDINGS = {
    "unreadable": "could not be read",
    "blank": "are blank",
    "odd_size": "have another size than most",
    "odd_mode": "are in colour where most are grayscale, or the other way round",
}


def _policy(done: Mapping[str, Any]) -> str:
    """A policy of the configuration with its effect: "policy 'keep'", "policy 'drop', 12 dropped"."""
    return f"policy '{done['policy']}'" + (f", {done['dropped']:,} dropped" if done["dropped"] else "")
