"""Whether the batches of every recipe fit the training images: known before any training, once these are counted.

It is asked by the rule `pack`, by planning where images are packed already, and by each training for itself.
"""

from collections.abc import Mapping

from study.errors import StudyError


def check_batch_sizes(batch_sizes: Mapping[str, int], images: int) -> None:
    """Refuse recipes with batches of more images than there are.

    Args:
        batch_sizes: experiment -> images of a batch.
        images: of the training split.

    Raises:
        StudyError: naming the experiments and what is allowed.
    """
    too_large = [name for name, size in batch_sizes.items() if size > images]
    if too_large:
        first, *others = too_large
        more = f"; the same in {', '.join(others)}" if others else ""
        raise StudyError(
            f"experiment '{first}', column 'batch_size': found {batch_sizes[first]}, allowed is at most the number of "
            f"training images, {images}{more}"
        )
