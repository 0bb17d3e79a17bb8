import pytest

from study.train.stopping import EarlyStopping


def epochs_until_stop(stopping: EarlyStopping, losses: list[float]) -> int | None:
    return next((epoch for epoch, loss in enumerate(losses, 1) if stopping.step(loss)), None)


def test_stops_after_patience_epochs_without_improvement():
    assert epochs_until_stop(EarlyStopping(3), [5, 4, 4.5, 4.2, 4.1, 3]) == 5


def test_an_improvement_starts_the_count_again():
    assert epochs_until_stop(EarlyStopping(2), [5, 6, 4, 6, 3, 6, 2]) is None


def test_a_constant_loss_is_no_improvement():
    assert epochs_until_stop(EarlyStopping(10), [1.9232] * 200) == 11


def test_an_equal_loss_can_be_taken_as_an_improvement():
    assert epochs_until_stop(EarlyStopping(10, equal_improves=True), [1.9232] * 200) is None
    assert epochs_until_stop(EarlyStopping(2, equal_improves=True), [1.9, 1.9, 2.0, 2.0]) == 4


def test_nan_never_improves():
    nan = float("nan")
    assert epochs_until_stop(EarlyStopping(2), [nan, nan]) == 2
    assert epochs_until_stop(EarlyStopping(2), [nan, 1.0, nan, nan]) == 4


def test_min_delta_is_what_an_improvement_must_exceed():
    assert epochs_until_stop(EarlyStopping(2, min_delta=0.5), [4, 3.5, 3.5]) == 3
    assert epochs_until_stop(EarlyStopping(2, min_delta=0.5), [4, 3.4, 2.8]) is None


def test_state_continues_where_it_was():
    losses = [5, 4, 4, 3.9, 4, 4, 4, 4]
    for cut in range(len(losses)):
        first, second = EarlyStopping(3), EarlyStopping(3)
        stops = [first.step(loss) for loss in losses[:cut]]
        second.load_state_dict(first.state_dict())
        stops += [second.step(loss) for loss in losses[cut:]]
        assert stops.index(True) == 6


def test_without_patience_it_never_stops():
    assert epochs_until_stop(EarlyStopping(None), [1.0] * 200) is None


def test_patience_below_one_is_an_error():
    with pytest.raises(ValueError, match="patience is 0, allowed is at least 1"):
        EarlyStopping(0)
