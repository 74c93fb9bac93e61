"""What is wrong with the newest numbers, and what they will probably become: late reports, odd jumps, broken series.

First reports are incomplete, and by how much is learnt from what became of earlier ones (the chain ladder of claims
reserving; Mack, ASTIN Bulletin 23 (1993) 213-225), so that the same rule follows a change of habits within weeks.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

#: Weeks in which hospitals of the United States were free to report or not (42 CFR 482.42 lapsed on 30 April 2024 and
#: held again from 1 November): counts fell by half and rose again without any change in those who fell ill.
VOLUNTARY = (date(2024, 4, 28), date(2024, 11, 2))

SETTLING = 5  #: weeks over which a report is still corrected noticeably
HALFLIFE = 6.0  #: weeks after which what became of a report weighs half
SHRINK = 100.0  #: admissions by which a place's own corrections are drawn towards everyone's
DEFINITION = (0.6, 1.6)  #: corrections of everyone beyond these are changes of definition, and teach nothing
MOST_CORRECTED = 1.5  #: a place's single correction is held within this factor
ODD_JUMP = 0.7  #: log of a jump of everyone's sum in one week that no wave has made
FAINT = 20.0  #: admissions added to sums, so that jumps of a few are not odd


def regimes(weeks: Sequence[date]) -> Ints:
    """[T] number of the reporting regime each week belongs to; -1 where reports are not to be used.

    Voluntary reports are used while there are no newer ones: a forecast made then is of what will be reported.
    """
    begin, end = VOLUNTARY
    found = np.array([(week >= begin) + (week > end) for week in weeks], dtype=np.int64)
    return np.where((found == 1) & (found[-1:] != 1), -1, found)


def completion(windows: Floats, fresh: NDArray[np.bool_], regime: Ints) -> Floats:
    """[T, A, L] by which factor a report of age 0..A-1 weeks will yet grow, as far as each week could know.

    `windows` [T, L, K] holds what was known at each week of the newest K, `fresh` [T] whether it came from a table of
    that very week.
    """
    weeks, places, width = windows.shape
    keep = 0.5 ** (1 / HALFLIFE)
    later, sooner = np.zeros((SETTLING, places)), np.zeros((SETTLING, places))
    found = np.ones((weeks, SETTLING, places))
    for t in range(1, weeks):
        if regime[t] != regime[t - 1]:
            later[:], sooner[:] = 0.0, 0.0
        elif fresh[t] and fresh[t - 1]:
            later, sooner = later * keep, sooner * keep
            for age in range(SETTLING):
                old, new = windows[t - 1, :, width - 1 - age], windows[t, :, width - 2 - age]
                both = ~np.isnan(old) & ~np.isnan(new)
                if DEFINITION[0] * old[both].sum() < new[both].sum() < DEFINITION[1] * old[both].sum():
                    later[age] += np.where(both, new, 0.0)
                    sooner[age] += np.where(both, old, 0.0)
        everyone = (later.sum(axis=1) + SHRINK) / (sooner.sum(axis=1) + SHRINK)
        step = (later + SHRINK * everyone[:, None]) / (sooner + SHRINK)
        found[t] = np.cumprod(np.clip(step, 1 / MOST_CORRECTED, MOST_CORRECTED)[::-1], axis=0)[::-1]
    return found


def odd_jump(windows: Floats, parts: Ints) -> Floats:
    """[T] factor that takes a jump of everyone at once, larger than any wave makes, out of the newest week.

    Such a week is taken as not yet known: the sum stays where it was the week before.
    """
    before, now = windows[:, parts, -2], windows[:, parts, -1]
    both = ~np.isnan(before) & ~np.isnan(now)
    sums = [np.where(both, value, 0.0).sum(axis=1) + FAINT for value in (now, before)]
    jump = np.where(2 * both.sum(axis=1) > len(parts), np.log(sums[0] / sums[1]), 0.0)
    return np.asarray(np.where(np.abs(jump) > ODD_JUMP, np.exp(-jump), 1.0))
