"""The signs that stand before a verdict, the same in every figure and on every page."""

from study.compare.verdicts import (
    BEST,
    BETTER,
    HIGHER,
    HOLDS,
    LOWER,
    NOT_DISTINGUISHABLE,
    REVERSED,
    UNJUDGED,
    WORSE,
)

SYMBOLS = {
    **{BEST: "★", BETTER: "▲", WORSE: "▽", HIGHER: "▲", LOWER: "▼"},
    **{HOLDS: "✓", REVERSED: "✗", NOT_DISTINGUISHABLE: "≈", UNJUDGED: "–"},
}
