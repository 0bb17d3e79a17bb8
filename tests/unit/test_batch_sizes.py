import pytest

from study.batch_sizes import check_batch_sizes
from study.errors import StudyError


def test_batches_up_to_all_images_fit() -> None:
    check_batch_sizes({"a": 1, "b": 52}, 52)


def test_every_recipe_whose_batches_are_too_large_is_named() -> None:
    with pytest.raises(StudyError) as error:
        check_batch_sizes({"a": 64, "b": 52, "c": 53}, 52)
    assert str(error.value) == (
        "experiment 'a', column 'batch_size': found 64, allowed is at most the number of training images, 52; the same "
        "in c"
    )
