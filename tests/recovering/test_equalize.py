"""How equalization searches: all components together, then one by one, until the further ones are not worth a trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from calibrators.equalization import EXPONENTS
from qdq_cli.recovering import equalize
from qdq_cli.recovering.equalize import Choice

MANY = 20


@dataclass(frozen=True)
class Part:
    name: str
    step: str = "equalize"


@dataclass
class Search:
    """Components and a judge in one: a choice has a noise, and is its own candidate."""

    noise_of: Callable[[Choice], float]
    tried: list[Choice] = field(default_factory=list)
    noise: float = 1.0
    steps = ("equalize",)
    trials = MANY

    def __post_init__(self) -> None:
        self.parts = tuple(Part(f"t{number}") for number in range(MANY))

    def candidate(self, choice: Choice) -> Choice:
        return choice

    def accepts(self, choice: Choice) -> bool:
        self.tried.append(choice)
        better = self.noise_of(choice) < self.noise
        self.noise = min(self.noise, self.noise_of(choice))
        return better

    def choose(self) -> Choice:
        choice, verdicts = equalize._choose(cast(Any, self), cast(Any, self), lambda _done, _total: None)
        assert len(verdicts["equalize"]) == MANY
        return choice


def test_components_are_given_up_once_several_in_a_row_gain_nothing():
    search = Search(lambda choice: 1.0 + sum(choice))
    assert search.choose() == (0,) * MANY
    assert len(search.tried) == len(EXPONENTS) + equalize._PATIENCE


def test_a_gain_keeps_the_search_going():
    every_third = range(0, MANY, 3)
    search = Search(lambda choice: 1.0 + sum(choice) - 2 * sum(choice[number] == 1 for number in every_third))
    choice = search.choose()
    assert [number for number in range(MANY) if choice[number]] == list(every_third)


def test_what_helps_all_together_stays_where_components_are_given_up():
    search = Search(lambda choice: 1.0 - 0.01 * sum(position == 2 for position in choice))
    assert search.choose() == (2,) * MANY
    assert len(search.tried) == len(EXPONENTS) + 3 * equalize._PATIENCE
