"""What a convolution sees beyond the ends of a sequence."""

import numpy as np

from sola.config import Padding


def rows_beyond_ends(positions: np.ndarray, length: int, padding: Padding) -> np.ndarray:
    """Return the row of a sequence that stands at each position, from 0 to length - 1.

    Args:
        positions: int64, counted from the sequence's first row; any values.
        length: T >= 1, rows of the sequence.
        padding: replicate (the row at the end, again and again) or reflect (the sequence backwards, without its last
            row). With zeros no row stands beyond the ends; those positions are given the row at the end.
    """
    if padding != "reflect" or length == 1:
        return np.clip(positions, 0, length - 1)
    period = 2 * (length - 1)
    place = np.mod(positions, period)
    return np.minimum(place, period - place)
