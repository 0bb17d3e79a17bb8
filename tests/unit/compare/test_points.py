"""Differences in words."""

from study.compare.points import in_points, signed, with_interval


def test_points_have_two_digits_and_one_is_one() -> None:
    assert [in_points(x) for x in (0.095, 0.01, 0.005)] == ["9.5 points", "1 point", "0.5 points"]


def test_what_rounds_to_nothing_has_no_minus() -> None:
    assert [signed(x) for x in (-0.0004, 0.0, -0.0006, 0.123)] == ["+0.0", "+0.0", "-0.1", "+12.3"]
    assert with_interval(0.007, -0.0004, 0.024) == "+0.7 (+0.0 to +2.4)"
