"""Differences between shares of images in words: percentage points.

Entry points:
    in_points(difference) -> str                           "9.5 points"
    signed(share) -> str                                   "+0.7", "+0.0"
    with_interval(difference, low, high) -> str            "+0.7 (-1.0 to +2.4)"
"""


def in_points(difference: float) -> str:
    """A share of the images as points, with two digits: "9.5 points"."""
    points = f"{100 * difference:.2g}"
    return f"{points} point{'s' * (points != '1')}"


def signed(share: float) -> str:
    """A share of the images in points, with its sign; what rounds to 0 has the sign of 0."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def with_interval(difference: float, low: float, high: float) -> str:
    """A difference in points and the ends of its interval."""
    return f"{signed(difference)} ({signed(low)} to {signed(high)})"
