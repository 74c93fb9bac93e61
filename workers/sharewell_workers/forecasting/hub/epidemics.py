"""Invented epidemics: waves of many places over some years, to learn from how waves rise, crest and fall.

A hub's own history is a season or two, too few to know that a steep wave falls steeply. Each world is a stochastic
SEIRS-like process (Kermack & McKendrick 1927; seasonal forcing as in Keeling & Rohani, Modeling Infectious Diseases,
2008, ch. 5) with places that infect each other, waning immunity, new variants, school holidays that interrupt a wave
and feasts that shift it to the old (Ewing et al., J. Infect. Dis. 215 (2017) 732-739), and over-dispersed reports.
Nothing is fitted to any data; ranges are wide, around textbook values.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sharewell_workers.forecasting.hub import feasts

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

WEEKS = 230
WARM_UP = 104  #: weeks thrown away, until a world has forgotten how it began; whole years, worlds begin in August
PLACES = 52
REGIONS = 10
SEASON = 52  #: weeks
YEAR = 7 * SEASON  #: days
MOST_INFECTED = 0.3  #: of those who can be, on one day
MIXING = 0.03  #: share of infections that come from everywhere
START = date(2019, 8, 3)  #: last day of the first week that is kept; seasons rest in August
HOLIDAYS = (146, 160)  #: days of a world's year, which begins on 28 July: school holidays, 21 December to 3 January
MOST_FEAST = 0.5  #: log of what feasts, in which families meet and the old fall ill, bring to a week full of them
YEARLY, RESTLESS = 0, 1  #: a strain that drifts every year; one whose variants come at any time


@dataclass(frozen=True, slots=True)
class World:
    """Weekly admissions [L, T] of invented places, the last of them the sum, and the region [L] of each."""

    admissions: Floats
    region: Ints


def calendar(count: int) -> tuple[date, ...]:
    """The last days of the first `count` weeks of every world."""
    return tuple(START + timedelta(weeks=t) for t in range(count))


@lru_cache(maxsize=32)
def world(seed: int, number: int) -> World:
    """World `number` of a seed, always the same; even ones are yearly, odd ones restless."""
    chance = np.random.Generator(np.random.PCG64([seed, number]))
    region = np.arange(PLACES) % REGIONS
    infected = _infected(chance, region, YEARLY if number % 2 == 0 else RESTLESS)
    size = np.exp(chance.normal(np.log(150), 1.1, PLACES)).clip(5, 6000)
    seen = _reported(chance, infected / (np.quantile(infected, 0.95, axis=0) + 1e-9) * size)
    return World(np.vstack([seen.T, seen.sum(axis=1)]), np.append(region, REGIONS))


def _infected(chance: Generator, region: Ints, kind: int) -> Floats:
    """[T, L] share newly infected in each week."""
    recovery = 1 / chance.uniform(5.5, 9.0)
    forcing = chance.uniform(0.12, 0.30) if kind == YEARLY else chance.uniform(0.05, 0.18)
    reproduction = chance.uniform(1.5, 2.2) if kind == YEARLY else chance.uniform(1.8, 2.6)
    waning = 7 * (chance.uniform(45, 110) if kind == YEARLY else chance.uniform(25, 60))
    crest = 7 * (chance.normal(24, 2.5) + chance.normal(0, 1.5, len(region)))
    brought = 10 ** chance.uniform(-7, -5.5)
    restless = chance.uniform((0.02, 0.015, 0.02), (0.05, 0.04, 0.05))
    susceptible = chance.uniform(0.9, 1.05, len(region)) / reproduction
    ill = np.full(len(region), 1e-4)
    closed = chance.uniform(0.0, 0.3)
    weather: list[Floats] = [np.zeros(1), np.zeros(REGIONS), np.zeros(len(region))]
    weeks = np.zeros((WARM_UP + WEEKS, len(region)))
    for week in range(len(weeks)):
        weather = [
            keep * now + size * chance.normal(size=now.shape)
            for keep, now, size in zip((0.85, 0.85, 0.8), weather, restless, strict=True)
        ]
        swing = np.exp(weather[0] + weather[1][region] + weather[2])
        susceptible = _escaped(chance, susceptible, week, kind)
        for day in range(7 * week, 7 * week + 7):
            force = recovery * reproduction * (1 + forcing * np.cos(2 * np.pi * (day - crest) / YEAR)) * swing
            if HOLIDAYS[0] <= day % YEAR < HOLIDAYS[1]:
                force = force * (1 - closed)
            met = (1 - MIXING) * ill + MIXING * ill.mean()
            new = np.minimum(force * susceptible * met + brought, MOST_INFECTED * susceptible)
            weeks[week] += new
            ill = ill + new - recovery * ill
            susceptible = np.clip(susceptible - new + (1 - susceptible - ill) / waning, 0.01, 1.0)
    return weeks[WARM_UP:]


def _escaped(chance: Generator, susceptible: Floats, week: int, kind: int) -> Floats:
    """Immunity lost to a new variant, now and then, and to the yearly drift."""
    if chance.random() < (1 / 110 if kind == YEARLY else 1 / 45):
        lost = chance.uniform(0.15, 0.45) * np.exp(-chance.uniform(0, 0.5, len(susceptible)))
        susceptible = np.minimum(susceptible + lost * (1 - susceptible), 0.95)
    if kind == YEARLY and week % SEASON == 0:
        lost = chance.uniform(0.0, 0.25) * chance.uniform(0.7, 1.3, len(susceptible))
        susceptible = np.minimum(susceptible + lost * (1 - susceptible), 0.95)
    return np.asarray(susceptible)


def _reported(chance: Generator, mean: Floats) -> Floats:
    """Counts about `mean`: faults of reporting by place and week, and more spread than Poisson's."""
    mean = mean + chance.uniform(0, 0.5)
    years = len(mean) // SEASON + 1
    winter = chance.uniform(0.0, MOST_FEAST) * np.repeat(chance.uniform(0.5, 1.5, years), SEASON)[: len(mean)]
    feast = (feasts.share(calendar(len(mean))) * winter)[:, None] * chance.uniform(0.5, 1.5, mean.shape[1])
    fault = chance.normal(0, chance.uniform(0.03, 0.08), mean.shape) + chance.normal(0, 0.02, (len(mean), 1))
    dispersion = chance.uniform(30, 200)
    return chance.poisson(chance.gamma(dispersion, mean * np.exp(feast + fault) / dispersion)).astype(float)
