"""Fine-tune until a target is reached, or the steps are used up."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpubench.errors import InputError
from gpubench.model.networks import NER_LABELS
from gpubench.ports import Device, Tell, unheard
from gpubench.record import Fact
from gpubench.workloads.models.assembly import assemble
from gpubench.workloads.models.step import autocast_type, optimizer_of
from gpubench.workloads.ner.conll import Sentence, labels_of, read
from gpubench.workloads.ner.corpus import Corpus, generated
from gpubench.workloads.ner.scoring import Scores, by_entity, by_label, token_accuracy

if TYPE_CHECKING:
    import torch

    from gpubench.workloads.models.workload import Model

EVERY: Final = 25
"""Steps between looks at the sentences that progress is watched on."""
CURVE: Final = 20
"""Points that the loss curve is kept in."""
PAD: Final = 0
IGNORED: Final = -100
"""A target that cross entropy passes over: padding."""
FILES: Final = {"train": ("train.txt", "eng.train"), "dev": ("valid.txt", "dev.txt", "eng.testa"),
                "test": ("test.txt", "eng.testb")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Learned:
    """What came of it.

    Attributes:
        losses: of every step.
        time_s: of the steps, evaluation left out.
        reached: whether the target was reached on the watched sentences.
        entity, accuracy, table: on the test sentences.
    """

    losses: tuple[float, ...]
    time_s: float
    reached: bool
    entity: Scores
    accuracy: float
    table: Mapping[str, Scores]


def corpus_of(spec: Model) -> Corpus:
    """The user's corpus, a folder of CoNLL files, or the generated one.

    Raises:
        InputError: a file is missing or malformed, with its line.
    """
    if not spec.corpus:
        return generated()
    folder = Path(spec.corpus)
    parts = {}
    for part, names in FILES.items():
        path = next((folder / n for n in names if (folder / n).exists()), None)
        if path is None:
            what = f"no {part} sentences in it" if folder.is_dir() else "this is no folder"
            wanted = f"a folder with {' or '.join(names)}"
            raise InputError(what, file=str(folder), expected=wanted)
        parts[part] = tuple(read(path))
    return Corpus(**parts)


def word_ids(tokens: Sequence[str], words: int) -> list[int]:
    """An id a word by its hash: no vocabulary has to be shipped, and new words have one too."""
    return [1 + zlib.crc32(t.encode()) % (words - 1) for t in tokens]


class Learner:
    """A network with random weights, an optimizer and a corpus as tensors on the device."""

    def __init__(self, spec: Model, device: Device, corpus: Corpus, seed: int) -> None:
        import torch

        self._spec, self._device, self._where = spec, device, device.info.torch_name
        self.labels = labels_of([*corpus.train, *corpus.dev, *corpus.test])
        if len(self.labels) > NER_LABELS:
            raise InputError(
                f"{len(self.labels)} labels: {', '.join(self.labels)}", key="corpus",
                expected=f"at most {NER_LABELS}",
            )  # fmt: skip
        self._generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        self._made = assemble(spec, self._where)
        optimizer = optimizer_of(spec, self._made.module, spec.learning_rate)
        assert optimizer is not None, "refused by the workload's parameters"
        self._optimizer = optimizer
        self._scaler = torch.amp.GradScaler(device.info.type, enabled=spec.precision == "fp16")
        self._parts = {
            name: self._tensors(getattr(corpus, name)) for name in ("train", "dev", "test")
        }
        self._truth = {name: self._cut(getattr(corpus, name)) for name in ("dev", "test")}

    def _cut(self, sentences: Sequence[Sentence]) -> list[list[str]]:
        return [list(s.labels[: self._spec.length]) for s in sentences]

    def _tensors(self, sentences: Sequence[Sentence]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and targets, padded to the length of the case."""
        import torch

        shape = (len(sentences), self._spec.length)
        ids = torch.full(shape, PAD)
        targets = torch.full(shape, IGNORED)
        words = next(iter(self._made.shapes.values()))[2]
        number = {label: i for i, label in enumerate(self.labels)}
        for row, s in enumerate(sentences):
            tokens, labels = s.tokens[: shape[1]], s.labels[: shape[1]]
            ids[row, : len(tokens)] = torch.tensor(word_ids(tokens, words))
            targets[row, : len(labels)] = torch.tensor([number[x] for x in labels])
        return ids.to(self._where), targets.to(self._where)

    def _logits(self, ids: torch.Tensor) -> torch.Tensor:
        import torch

        half = autocast_type(self._spec)
        with torch.autocast(self._device.info.type, dtype=half, enabled=half is not None):
            outputs: Any = self._made.module(input_ids=ids, attention_mask=(ids != PAD).long())
        logits: torch.Tensor = outputs.logits.float()
        return logits

    def step(self) -> torch.Tensor:
        """One step on random sentences; its loss, which nobody has waited for yet."""
        import torch
        import torch.nn.functional as F  # noqa: N812

        ids, targets = self._parts["train"]
        self._made.module.train()
        self._optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self._where)
        for _ in range(self._spec.accumulate):
            rows = torch.randint(len(ids), (self._spec.batch,), generator=self._generator)
            logits = self._logits(ids[rows.to(self._where)])
            wanted = targets[rows.to(self._where)]
            loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)
            loss = loss / self._spec.accumulate
            self._scaler.scale(loss).backward()
            total += loss.detach()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return total

    def predicted(self, part: str) -> list[list[str]]:
        """The labels that the network gives the ``dev`` or ``test`` sentences."""
        import torch

        ids, targets = self._parts[part]
        self._made.module.eval()
        found: list[list[str]] = []
        with torch.no_grad():
            for start in range(0, len(ids), 64):
                rows = slice(start, start + 64)
                numbers = self._logits(ids[rows]).argmax(-1).cpu()
                there = (targets[rows] != IGNORED).cpu()
                found += [
                    # A head may have more classes than there are labels: outside, then.
                    [self.labels[min(n, len(self.labels) - 1)] for n in row[mask].tolist()]
                    for row, mask in zip(numbers, there, strict=True)
                ]
        return found

    def learn(self, tell: Tell = unheard) -> Learned:
        """Train until the entity-level F1 of the watched sentences reaches the target."""
        losses: list[float] = []
        spent, reached = 0.0, False
        while len(losses) < self._spec.steps and not reached:
            self._device.synchronize()
            begun = time.perf_counter()
            some = [self.step() for _ in range(min(EVERY, self._spec.steps - len(losses)))]
            self._device.synchronize()
            spent += time.perf_counter() - begun
            losses += [float(x) for x in some]
            f1 = by_entity(self._truth["dev"], self.predicted("dev")).f1
            reached = f1 >= self._spec.target_f1
            said = f"learning, F1 {f1:.2f} of {self._spec.target_f1:g}"
            tell(said, len(losses), self._spec.steps)
        truth, found = self._truth["test"], self.predicted("test")
        return Learned(
            losses=tuple(losses), time_s=spent, reached=reached,
            entity=by_entity(truth, found), accuracy=token_accuracy(truth, found),
            table=by_label(truth, found, self.labels),
        )  # fmt: skip


def quality(spec: Model, device: Device, seed: int, tell: Tell = unheard) -> dict[str, Fact]:
    """Train to quality and tell it as facts of a record."""
    import torch

    cuda = device.info.type == "cuda"
    with torch.random.fork_rng(devices=[device.info.index or 0] if cuda else []):
        learned = Learner(spec, device, corpus_of(spec), seed).learn(tell)
    return facts_of(learned)


def facts_of(learned: Learned) -> dict[str, Fact]:
    """Scalars, and tables as short texts: ``precision recall F1 support``."""
    losses = learned.losses
    step = max(1, len(losses) // CURVE)
    facts: dict[str, Fact] = {
        "quality.reached": learned.reached,
        "quality.steps": len(losses),
        "quality.time_to_target_s": learned.time_s if learned.reached else None,
        "quality.training_s": learned.time_s,
        "quality.entity_f1": learned.entity.f1,
        "quality.entity_precision": learned.entity.precision,
        "quality.entity_recall": learned.entity.recall,
        "quality.token_accuracy": learned.accuracy,
        "quality.loss_curve": " ".join(
            f"{sum(part) / len(part):.4f}"
            for part in (losses[i : i + step] for i in range(0, len(losses), step))
        ),
    }
    for name, s in learned.table.items():
        facts[f"quality.label.{name}"] = f"{s.precision:.3f} {s.recall:.3f} {s.f1:.3f} {s.support}"
    return {name: value for name, value in facts.items() if value is not None}
