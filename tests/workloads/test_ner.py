"""Named entities: corpora, scores, and learning that does or does not reach its target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpubench.errors import InputError, Unsupported
from gpubench.spec import DeviceInfo
from gpubench.workloads.models.workload import Model
from gpubench.workloads.ner.conll import Sentence, iob2, labels_of, read
from gpubench.workloads.ner.corpus import generated
from gpubench.workloads.ner.scoring import by_entity, by_label, entities, token_accuracy
from gpubench.workloads.ner.training import Learner, corpus_of, quality, word_ids

NER = {"model": "bert-tiny", "mode": "train_to_quality", "head": "token-classification",
       "batch": 16, "seq_len": 24, "optimizer": "adamw"}  # fmt: skip
CONLL = "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\nPeter NNP I-NP I-PER\n"


def model(**more: Any) -> Model:
    return Model.from_params({**NER, **more}, "fp32")


@pytest.fixture(scope="module")
def device() -> Any:
    from gpubench.devices.cpu import CpuDevice

    return CpuDevice()


# ---------------------------------------------------------------- corpora


def test_a_conll_file_is_read_into_iob2(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text(CONLL)
    assert read(path) == [
        Sentence(("EU", "rejects"), ("B-ORG", "O")), Sentence(("Peter",), ("B-PER",)),
    ]  # fmt: skip


def test_labels_of_either_scheme_begin_entities_with_b() -> None:
    assert iob2(["I-PER", "I-PER", "B-PER", "I-LOC", "O"]) == (
        "B-PER", "I-PER", "B-PER", "B-LOC", "O",
    )  # fmt: skip
    already = ("B-PER", "I-PER", "O", "B-LOC")
    assert iob2(already) == already


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (b"EU NNP B-NP B-ORG\nrejects\n", 2, "only one column"),
        (b"EU NNP B-NP B-ORG\nrejects VBZ O\n", 2, "3 columns"),
        (b"EU B-ORG\ncalls X-ORG\n", 2, "'X-ORG' is no label"),
        (b"EU B-ORG\n\xff\xfe O\n", 2, "not UTF-8"),
        (b"\n\n", None, "no sentence"),
        (None, None, "cannot read"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(
    tmp_path: Path, content: bytes | None, line: int | None, said: str
) -> None:
    path = tmp_path / "train.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read(path)
    assert (caught.value.file, caught.value.line) == (str(path), line)


def test_a_folder_of_the_users_is_the_corpus(tmp_path: Path) -> None:
    for name in ("eng.train", "eng.testa"):
        (tmp_path / name).write_text(CONLL)
    spec = model(corpus=str(tmp_path))
    with pytest.raises(InputError, match="no test sentences"):
        corpus_of(spec)
    (tmp_path / "eng.testb").write_text("Paris B-LOC\n")
    found = corpus_of(spec)
    assert len(found.train) == 2
    assert found.test == (Sentence(("Paris",), ("B-LOC",)),)


def test_more_labels_than_the_head_has_are_refused(tmp_path: Path, device: Any) -> None:
    lines = "".join(f"word{i} B-KIND{chr(65 + i)}\n" for i in range(10))
    for name in ("train.txt", "valid.txt", "test.txt"):
        (tmp_path / name).write_text(lines)
    spec = model(corpus=str(tmp_path))
    with pytest.raises(InputError, match="10 labels"):
        Learner(spec, device, corpus_of(spec), 0)


def test_the_generated_corpus_is_the_same_for_a_seed() -> None:
    assert generated(3) == generated(3)
    assert generated(3) != generated(4)
    first = generated(0).train[0]
    assert first == generated(0, train=1).train[0]
    assert len(first.tokens) == len(first.labels)


def test_the_generated_corpus_has_the_nine_labels_and_new_names_in_its_test() -> None:
    corpus = generated()
    assert labels_of(corpus.train) == (
        "B-LOC", "I-LOC", "B-MISC", "I-MISC", "B-ORG", "I-ORG", "B-PER", "I-PER", "O",
    )  # fmt: skip
    assert max(len(s.tokens) for s in corpus.train) <= 24

    def people(part: tuple[Sentence, ...]) -> set[str]:
        pairs = ((t, x) for s in part for t, x in zip(s.tokens, s.labels, strict=True))
        return {t for t, x in pairs if x.endswith("PER")}

    known = people(corpus.train)
    new = people(corpus.test) - known
    assert len(new) > 0.5 * len(people(corpus.test))


def test_words_have_ids_of_their_own_and_none_is_padding() -> None:
    ids = word_ids(["in", "Paris", "in"], 1000)
    assert ids[0] == ids[2] != ids[1]
    assert all(0 < i < 1000 for i in ids)


# ---------------------------------------------------------------- scores


def test_entities_end_where_kinds_change_or_a_new_one_begins() -> None:
    labels = ["B-PER", "I-PER", "B-PER", "O", "I-LOC", "I-ORG", "B-LOC"]
    assert entities(labels) == {
        ("PER", 0, 2), ("PER", 2, 3), ("LOC", 4, 5), ("ORG", 5, 6), ("LOC", 6, 7),
    }  # fmt: skip


def test_an_entity_with_one_wrong_end_is_wrong_though_its_tokens_are_nearly_right() -> None:
    truth = [["B-PER", "I-PER", "O", "O", "B-LOC", "O", "O", "O", "O", "O"]]
    found = [["B-PER", "O", "O", "O", "B-LOC", "O", "O", "O", "O", "O"]]
    entity = by_entity(truth, found)
    assert (entity.precision, entity.recall, entity.f1, entity.support) == (0.5, 0.5, 0.5, 2)
    assert token_accuracy(truth, found) == 0.9


def test_scores_of_nothing_are_zero() -> None:
    assert by_entity([["O"]], [["O"]]).f1 == 0.0
    assert by_entity([["B-PER"]], [["O"]]).f1 == 0.0


def test_the_table_is_that_of_the_article() -> None:
    truth, found = [["B-PER", "I-PER", "O", "O"]], [["B-PER", "O", "O", "O"]]
    table = by_label(truth, found, labels_of([Sentence(("a",) * 4, tuple(truth[0]))]))
    assert list(table)[:3] == ["B-PER", "I-PER", "O"]
    assert (table["O"].precision, table["O"].recall, table["O"].support) == (
        pytest.approx(2 / 3), 1.0, 2,
    )  # fmt: skip
    assert table["I-PER"].f1 == 0.0
    # Every token has one label, so micro averages of all labels are the token accuracy.
    weighted = table["weighted avg"]
    assert weighted.recall == token_accuracy(truth, found) == 0.75


def test_without_scikit_learn_the_reason_says_how_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(Unsupported, match=r"pip install 'gpubench\[models\]'"):
        by_label([["O"]], [["O"]], ["O"])
    monkeypatch.setattr(
        "gpubench.workloads.models.workload.find_spec", lambda n: None if n == "sklearn" else n
    )
    reason = model().unsupported(DeviceInfo(type="cpu", name="a CPU"))
    assert reason == "scikit-learn is not installed: pip install 'gpubench[models]'"


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"head": "causal-lm"}, "head"),
        ({"optimizer": "none"}, "optimizer"),
        ({"target_f1": 1.5}, "target_f1"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"mode": "training", "learning_rate": 1e-4}, "learning_rate"),
        ({"mode": "training", "seed": 2}, "seed"),
    ],
)
def test_what_cannot_be_learned_is_refused(more: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as caught:
        model(**more)
    assert caught.value.key == key


def test_parameters_of_learning_are_no_part_of_other_cases() -> None:
    assert "target_f1" in model().params()
    assert "target_f1" not in model(mode="training").params()
    assert Model.from_params(model(seed=3).params(), "fp32") == model(seed=3)


@pytest.mark.slow
def test_it_learns_until_it_reaches_the_target(device: Any) -> None:
    spec = model(target_f1=0.7, steps=300)
    facts = quality(spec, device, spec.seed)
    assert facts["quality.reached"] is True
    assert int(str(facts["quality.steps"])) < 300
    assert float(str(facts["quality.entity_f1"])) > 0.5
    # Most tokens are outside of any entity: accuracy is kinder than entities are.
    assert float(str(facts["quality.token_accuracy"])) > float(str(facts["quality.entity_f1"]))
    curve = [float(x) for x in str(facts["quality.loss_curve"]).split()]
    assert curve[-1] < 0.5 * curve[0]
    assert str(facts["quality.label.B-PER"]).split()[3].isdigit()


@pytest.mark.parametrize("rate", [1e-7, 3.0])
def test_a_broken_learning_rate_does_not_reach_the_target(device: Any, rate: float) -> None:
    spec = model(learning_rate=rate, target_f1=0.7, steps=50)
    facts = quality(spec, device, spec.seed)
    assert facts["quality.reached"] is False
    assert facts["quality.steps"] == 50
    assert float(str(facts["quality.entity_f1"])) < 0.2
    assert "quality.time_to_target_s" not in facts


def test_the_same_seed_learns_the_same(device: Any) -> None:
    first, same, other = (
        [Learner(model(), device, generated(), s).step().item() for _ in range(1)]
        for s in (1, 1, 2)
    )
    assert first == same != other


def test_a_case_is_a_timed_step_and_what_was_learned(device: Any) -> None:
    from gpubench.engine.runner import Runner
    from gpubench.plan import case_key
    from gpubench.record import Measurement
    from gpubench.spec import Case, Policy

    spec = model(batch=2, steps=2, learning_rate=1e-4)
    case = Case(
        key=case_key("model", "fp32", spec.identity()), benchmark="b", workload="model",
        precision="fp32", params=spec.params(),
        policy=Policy(min_time_s=0.0, max_time_s=0.05, warmup_s=0.0, min_samples=2),
    )  # fmt: skip
    told: list[tuple[str, int, int]] = []
    outcome = Runner(device, tell=lambda *said: told.append(said)).run(case, 3)[0].outcome
    assert isinstance(outcome, Measurement), outcome
    assert outcome.facts["quality.steps"] == 2
    assert outcome.facts["quality.reached"] is False
    assert outcome.facts["flops_per_step"]
    assert [r.name for r in outcome.ranges][-1] == "optimizer"
    assert {o.phase for o in outcome.operators} == {"forward", "backward", "optimizer"}
    # How far it is: steps of how many, and what the watched sentences say.
    (learning,) = [said for said in told if said[0].startswith("learning")]
    assert learning[1:] == (2, 2)
    assert "of 0.9" in learning[0]
