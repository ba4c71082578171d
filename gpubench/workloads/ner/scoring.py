"""How good labels are: by entity, which counts, and by token, which flatters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpubench.errors import Unsupported

INSTALL = "scikit-learn is not installed: pip install 'gpubench[models]'"
Labels = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Scores:
    """Precision, recall and F1."""

    precision: float
    recall: float
    f1: float
    support: int


def entities(labels: Sequence[str]) -> set[tuple[str, int, int]]:
    """(kind, first token, one past the last) of each entity, as CoNLL-2003's own script."""
    found: set[tuple[str, int, int]] = set()
    start, kind = 0, ""
    for i, label in enumerate([*labels, "O"]):
        goes_on = label.startswith("I-") and label[2:] == kind
        if kind and not goes_on:
            found.add((kind, start, i))
            kind = ""
        if not goes_on and label != "O":
            start, kind = i, label[2:]
    return found


def by_entity(truth: Labels, found: Labels) -> Scores:
    """An entity is right if its kind and both its ends are."""
    hits = meant = given = 0
    for t, f in zip(truth, found, strict=True):
        a, b = entities(t), entities(f)
        hits, meant, given = hits + len(a & b), meant + len(a), given + len(b)
    precision, recall = hits / given if given else 0.0, hits / meant if meant else 0.0
    both = precision + recall
    return Scores(precision, recall, 2 * precision * recall / both if both else 0.0, meant)


def token_accuracy(truth: Labels, found: Labels) -> float:
    """Share of tokens with the right label, most of which are outside of any entity."""
    pairs = [(a, b) for t, f in zip(truth, found, strict=True) for a, b in zip(t, f, strict=True)]
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else 0.0


def by_label(truth: Labels, found: Labels, labels: Sequence[str]) -> dict[str, Scores]:
    """The table of the article: each label, then macro and weighted averages over tokens.

    Raises:
        Unsupported: scikit-learn is not installed.
    """
    try:
        from sklearn.metrics import classification_report
    except ImportError as error:
        raise Unsupported(INSTALL) from error
    flat_truth = [label for t in truth for label in t]
    flat_found = [label for f in found for label in f]
    report = classification_report(
        flat_truth, flat_found, labels=list(labels), output_dict=True, zero_division=0.0
    )
    return {
        name: Scores(
            float(row["precision"]), float(row["recall"]), float(row["f1-score"]),
            int(row["support"]),
        )
        for name, row in report.items()
        if isinstance(row, dict)
    }  # fmt: skip
