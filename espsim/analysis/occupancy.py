"""Balls into bins: the closed forms and recurrences for the odds of SPIs. Numbers in, numbers out.

Balls are independent and uniform. Results are exact but for rounding. `draw_losses` is a Monte Carlo for comparison.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LARGEST = 1 << 16
"""The recurrences run for at most so many balls: their cost grows with the square."""
_NEVER = 745.0  # exp(-745) is the smallest double
_Z = 1.96
"""Standard deviations to each side of a mean, between which 95 % of a normal distribution lie."""


def log_all_differ(balls: int, bins: int) -> float:
    """log of the chance that no two of `balls` share one of `bins`: the sum of log(1 - i/bins), i < balls."""
    if balls > bins:
        return -math.inf
    most = min(balls, math.isqrt(2 * int(_NEVER) * bins) + 2)  # further terms only lower a sum below -745
    return float(np.log1p(-np.arange(most, dtype=np.float64) / bins).sum())


def shared(balls: int, bins: int) -> float:
    """The chance that at least two of `balls` share one of `bins` (the birthday problem)."""
    return 0.0 - math.expm1(log_all_differ(balls, bins))  # 0 is 0, not -0


def shared_across(groups: list[int], bins: int) -> float:
    """The same, but balls of one group never share: each group draws without replacement."""
    total = log_all_differ(sum(groups), bins)
    if math.isinf(total):
        return 1.0
    within = sum(times * log_all_differ(size, bins) for size, times in Counter(groups).items())
    return min(1.0, max(0.0, 0.0 - math.expm1(min(0.0, total - within))))


def balls_for(chance: float, bins: int) -> int:
    """The fewest balls of which two share a bin with at least this chance."""
    low, high = 1, bins + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if shared(middle, bins) >= chance else (middle + 1, high)
    return low


def log_slots_differ(balls: int, few: int, slots_few: int, many: int, slots_many: int) -> float:
    """log of the chance that all balls are in different slots, where slots have two sizes.

    `slots_few` slots hold `few` bins each, `slots_many` hold `many`, as when a range of SPIs is folded onto a table.
    """
    bins = few * slots_few + many * slots_many
    occupied = slots_few if few else 0
    most = min(balls, slots_many)
    least = max(0, balls - occupied)
    if least > most:
        return -math.inf
    j = np.arange(least, most + 1, dtype=np.float64)
    terms = _log_choose(slots_many, least, most) + j * math.log(many)
    if occupied:
        terms += _log_choose(occupied, balls - most, balls - least)[::-1] + (balls - j) * math.log(few)
    top = float(terms.max())
    log_sum = top + math.log(float(np.exp(terms - top).sum()))
    return min(0.0, log_sum + math.lgamma(balls + 1) - balls * math.log(bins))


def _log_choose(n: int, first: int, last: int) -> Floats:
    """log of n over k, for k from `first` to `last`: the first by log-gamma, each other from the one before."""
    start = math.lgamma(n + 1) - math.lgamma(first + 1) - math.lgamma(n - first + 1)
    k = np.arange(first, last, dtype=np.float64)
    return np.concatenate(([start], start + np.cumsum(np.log((n - k) / (k + 1)))))


def repeats(balls: int, bins: int) -> Floats:
    """P(k of `balls` fall into a bin that was hit before), k from 0. A tail of negligible chances is cut off."""
    mean = balls * balls / (2 * bins)
    size = int(min(balls, mean + 14 * math.sqrt(mean) + 40)) + 1
    chances, k = np.zeros(size), np.arange(size, dtype=np.float64)
    chances[0] = 1.0
    for thrown in range(1, balls):
        again = np.minimum(np.maximum((thrown - k) / bins, 0.0), 1.0) * chances  # np.clip takes twice as long
        chances -= again
        chances[1:] += again[:-1]
    return chances


def left_over(arrivals: Floats, bins: int) -> Floats:
    """P(k balls find their bin taken), where P(t balls arrive) is `arrivals[t]` and a bin takes one ball."""
    result = np.zeros(len(arrivals))
    room = min(len(arrivals) - 1, bins)
    taken, occupied = np.zeros(room + 1), np.arange(room + 1, dtype=np.float64)
    taken[0] = 1.0
    for thrown, weight in enumerate(arrivals):
        if thrown:
            into = taken * (bins - occupied) / bins
            taken -= into
            taken[1:] += into[:-1]
        if weight > 1e-20:
            top = min(thrown, room)
            result[thrown - top : thrown + 1] += weight * taken[top::-1]
    return result


def skewed_left_over(arrivals: Floats, ways: int, sets: int) -> Floats:
    """P(k find no place), where each way has its own row index and a ball takes the first free way.

    Ways can be computed one after the other: a ball that finds way 0 taken came later than the one there.
    """
    for _ in range(ways):
        arrivals = left_over(arrivals, sets)
    return arrivals


def expected_loss_shared(balls: int, ways: int, sets: int) -> float:
    """The mean number without a place, where all ways share one row index: sets * E[(Binomial - ways)+]."""
    log_p, log_q = -math.log(sets), math.log1p(-1 / sets) if sets > 1 else -math.inf
    kept = 0.0
    for k in range(min(ways, balls + 1)):
        log_term = math.lgamma(balls + 1) - math.lgamma(k + 1) - math.lgamma(balls - k + 1) + k * log_p
        kept += (ways - k) * math.exp(log_term + (balls - k) * log_q if balls > k else log_term)
    return balls - sets * (ways - kept) if balls else 0.0


def fits_shared(balls: int, ways: int, sets: int) -> float:
    """The chance that no row of `sets` gets more than `ways` balls.

    The rows are Poisson, conditioned on their sum. The chance is the coefficient of x^balls in
    (sum of p_j x^j, j <= ways)^sets, from a discrete Fourier transform, over the Poisson probability of that sum.
    """
    if balls > ways * sets or balls <= ways:
        return float(balls <= ways)
    rate, points = balls / sets, ways * sets + 1
    j = np.arange(ways + 1)
    padded = np.zeros(points)
    padded[: ways + 1] = np.exp(-rate + j * math.log(rate) - np.array([math.lgamma(i + 1) for i in j]))
    power = np.exp(sets * np.log(np.fft.fft(padded)))
    coefficient = float(np.fft.ifft(power)[balls].real)
    log_sum = -balls + balls * math.log(balls) - math.lgamma(balls + 1)
    return min(1.0, max(0.0, coefficient / math.exp(log_sum)))


def draw_losses(
    balls: int, ways: int, sets: int, draws: int, rng: np.random.Generator, *, skewed: bool
) -> npt.NDArray[np.int64]:
    """How many of `balls` find no place, for each draw of a hash table with uniform rows and first free way."""
    return np.array([_one_draw(balls, ways, sets, rng, skewed) for _ in range(draws)], dtype=np.int64)


def _one_draw(balls: int, ways: int, sets: int, rng: np.random.Generator, skewed: bool) -> int:
    if not skewed:
        rows = np.bincount(rng.integers(sets, size=balls), minlength=sets)
        return int(np.maximum(rows - ways, 0).sum())
    left = balls
    for _ in range(ways):
        left -= len(np.unique(rng.integers(sets, size=left)))
    return left


def wilson(hits: int, draws: int) -> tuple[float, float]:
    """The 95 % interval of a chance that was seen `hits` times in `draws` (Wilson 1927)."""
    share, scale = hits / draws, 1 + _Z * _Z / draws
    centre = (share + _Z * _Z / (2 * draws)) / scale
    half = _Z * math.sqrt(share * (1 - share) / draws + _Z * _Z / (4 * draws * draws)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """A mean and its 95 % interval (normal)."""
    mean = float(values.mean())
    half = _Z * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return mean, max(0.0, mean - half), mean + half
