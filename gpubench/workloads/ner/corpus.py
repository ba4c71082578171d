"""A corpus made from a grammar: the same sentences on every machine, for a seed.

News-like sentences with people, places, organisations and nationalities. Names are made of
syllables, and those of the test sentences are made apart, so that most of them never occur
in training: they must be told by what stands around them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gpubench.workloads.ner.conll import OUTSIDE, Sentence

TEMPLATES: Final = (
    "{PER} met {PER} in {LOC} on {day} .",
    "{PER} flew from {LOC} to {LOC} .",
    "{ORG} said profit rose {number} percent .",
    "shares of {ORG} fell {number} percent in {LOC} .",
    "{PER} , chairman of {ORG} , resigned on {day} .",
    "the {MISC} government denied the report .",
    "{ORG} will open a plant near {LOC} .",
    "president {PER} spoke to {MISC} reporters .",
    "at least {number} people were hurt in {LOC} on {day} .",
    "analysts at {ORG} expect a {MISC} recovery .",
    "{PER} scored {number} points , coach {PER} said .",
    "{ORG} bought {ORG} for {number} million dollars .",
    "a {MISC} court in {LOC} fined {ORG} .",
    "it rained in {LOC} for {number} days .",
    "the talks will go on , minister {PER} said on {day} .",
    "prices did not change on {day} .",
)
DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday")
_ONSETS: Final = ("b", "br", "d", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t",
                  "v", "w")  # fmt: skip
_VOWELS: Final = ("a", "e", "i", "o", "u", "ai", "ou")
_CODAS: Final = ("", "l", "n", "r", "s", "nd", "rt")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Sentences to learn from, to watch progress on, and to be judged by."""

    train: tuple[Sentence, ...]
    dev: tuple[Sentence, ...]
    test: tuple[Sentence, ...]


def generated(seed: int = 0, train: int = 1500, dev: int = 150, test: int = 300) -> Corpus:
    """The corpus of a seed."""
    return Corpus(
        train=_sentences(random.Random(f"train {seed}"), train),
        dev=_sentences(random.Random(f"dev {seed}"), dev),
        test=_sentences(random.Random(f"test {seed}"), test),
    )


def _sentences(rng: random.Random, count: int) -> tuple[Sentence, ...]:
    return tuple(_sentence(rng) for _ in range(count))


def _sentence(rng: random.Random) -> Sentence:
    tokens: list[str] = []
    labels: list[str] = []
    for word in rng.choice(TEMPLATES).split():
        slot = word.strip("{}")
        made = _SLOTS[slot](rng).split() if word.startswith("{") else [word]
        tokens += made
        if slot.isupper() and word.startswith("{"):
            labels += [f"B-{slot}", *[f"I-{slot}"] * (len(made) - 1)]
        else:
            labels += [OUTSIDE] * len(made)
    return Sentence(tuple(tokens), tuple(labels))


def _name(rng: random.Random, syllables: int = 2) -> str:
    parts = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(syllables)]
    return ("".join(parts) + rng.choice(_CODAS)).capitalize()


def _person(rng: random.Random) -> str:
    return _name(rng) if rng.random() < 0.3 else f"{_name(rng)} {_name(rng)}"


def _place(rng: random.Random) -> str:
    prefix = rng.choice(("New", "San", "Port")) + " " if rng.random() < 0.3 else ""
    return prefix + _name(rng)


def _organisation(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return f"Bank of {_name(rng)}"
    return f"{_name(rng)} {rng.choice(('Corp', 'Group', 'Industries'))}"


def _nationality(rng: random.Random) -> str:
    prefix = rng.choice(("South", "North")) + " " if rng.random() < 0.2 else ""
    return prefix + _name(rng) + rng.choice(("ian", "ese", "ish"))


_SLOTS: Final[Mapping[str, Callable[[random.Random], str]]] = {
    "PER": _person,
    "LOC": _place,
    "ORG": _organisation,
    "MISC": _nationality,
    "day": lambda rng: rng.choice(DAYS),
    "number": lambda rng: str(rng.randint(2, 99)),
}
