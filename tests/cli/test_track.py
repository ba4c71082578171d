from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from gpubench.cli.main import invoke
from gpubench.record import Failure, Outcome, Run
from gpubench.store import Store
from tests.builders import gemm_case
from tests.nightly import CASE, fill, measured, night, one_case

QUIET = gemm_case("bf16")


def outcomes(seed: int, step: float = 0.0, count: int = 60, at: int = 50) -> list[Outcome]:
    log = np.random.default_rng(seed).normal(0, 0.01, count)
    log[at:] += np.log1p(step)
    return [measured(float(1e-3 * np.exp(x))) for x in log]


def stored(url: str, step: float, heads: list[Run] | None = None) -> list[Run]:
    with Store(url) as store:
        return fill(store, [(CASE, outcomes(1, step)), (QUIET, outcomes(2))], heads)


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = invoke(list(arguments))
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_regression_fails_and_tells_its_cause(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = [night(i, {"git.commit": ("b" if i >= 50 else "a") * 40}) for i in range(60)]
    stored(store_url, 0.06, heads)
    code, out, _ = run_cli(capsys, "track", "check")
    assert code == 1
    assert "1 regression, 1 within noise" in out
    assert "code commit: aaaaaaaaaa → bbbbbbbbbb" in out
    assert "bf16" not in out
    code, out, _ = run_cli(capsys, "track", "check", "--all")
    assert "bf16" in out
    # A night before the change is fine, by label or id.
    assert run_cli(capsys, "track", "check", "night-40")[0] == 0
    assert run_cli(capsys, "track", "check", heads[55].id)[0] == 1


def test_speed_ups_and_noise_are_fine(store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    stored(store_url, -0.1)
    code, out, _ = run_cli(capsys, "track", "check")
    assert code == 0
    assert "no regression: 1 improvement" in out


def test_a_changed_stack_and_an_unfinished_run_end_with_three(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = [night(i, {"gpu.driver": "570" if i >= 50 else "550"}) for i in range(60)]
    stored(store_url, 0.06, heads)
    code, out, _ = run_cli(capsys, "track", "check")
    assert (code, "stack changed" in out, "driver: 550 → 570" in out) == (3, True, True)
    with Store(store_url) as store:
        broken = night(60, status="interrupted", planned=9)
        fill(store, [(CASE, [measured(1e-3)]), (QUIET, [Failure("crash", "SIGSEGV")])], [broken])
    code, out, _ = run_cli(capsys, "track", "check")
    assert code == 3
    for words in ("run is interrupted", "7 of 9 planned cases", "failed (crash): SIGSEGV"):
        assert words in out


def test_accepting_ends_the_alarm_and_is_kept(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = stored(store_url, 0.06)
    code, out, _ = run_cli(capsys, "track", "accept", "--reason", "better numerics")
    assert code == 0
    assert "accepted 1 level of run" in out
    assert run_cli(capsys, "track", "check")[0] == 0
    with Store(store_url) as store:
        one_case(store, [1.06e-3] * 5, [night(60 + i) for i in range(5)])
    assert run_cli(capsys, "track", "check")[0] == 0
    _, out, _ = run_cli(capsys, "track", "show", CASE.key, "--nights", "3")
    assert "better numerics" in out
    assert runs[-1].id in out
    with Store(store_url) as store:
        one_case(store, [1.20e-3] * 3, [night(65 + i) for i in range(3)])
    assert run_cli(capsys, "track", "check")[0] == 1


def test_two_nights_and_an_accepted_level(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(store_url) as store:
        one_case(store, [1.00e-3], [night(0)])
    assert run_cli(capsys, "track", "check")[0] == 0
    assert run_cli(capsys, "track", "accept", "--all", "--reason", "first")[0] == 0
    with Store(store_url) as store:
        one_case(store, [1.10e-3], [night(1)])
    assert run_cli(capsys, "track", "check")[0] == 1


def test_formats(store_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    stored(store_url, 0.06)
    code, out, _ = run_cli(capsys, "track", "check", "--format", "json")
    found = json.loads(out)
    assert (code, found["exit_code"]) == (1, 1)
    assert [c["verdict"] for c in found["cases"]] == ["regression", "noise"]
    assert found["cases"][0]["ratio"] == pytest.approx(1.06, abs=0.01)
    _, out, _ = run_cli(capsys, "track", "check", "--format", "junit")
    (suite,) = ElementTree.fromstring(out)
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    _, out, _ = run_cli(capsys, "track", "check", "--format", "github")
    assert {(e["unit"], e["name"]) for e in json.loads(out)} == {
        ("s", "square 64x64x64 fp32"),
        ("s", "square 64x64x64 bf16"),
    }
    path = tmp_path / "deep" / "s.md"
    code, out, err = run_cli(capsys, "track", "check", "--format", "markdown", "-o", str(path))
    assert (code, out) == (1, "")
    assert "wrote" in err
    assert "| **regression** | square |" in path.read_text()


def test_hostile_text_breaks_no_format(
    store_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bad = "<script>alert(1)</script> | `x` \x00 ]]>"
    heads = [
        night(i, {"gpu.driver": bad if i >= 50 else "550", "host.name": bad}) for i in range(60)
    ]
    stored(store_url, 0.06, heads)
    _, out, _ = run_cli(capsys, "track", "check", "--format", "junit")
    ElementTree.fromstring(out)
    _, out, _ = run_cli(capsys, "track", "check", "--format", "markdown")
    assert "<script>" not in out
    run_cli(capsys, "track", "publish", str(tmp_path / "site"))
    ElementTree.parse(tmp_path / "site" / "feed.xml")
    for page in (tmp_path / "site").rglob("*.html"):
        assert "<script>alert" not in page.read_text()


def test_publish_writes_a_site_that_is_whole(
    store_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    heads = [night(i, {"gpu.driver": "570" if i >= 20 else "550"}) for i in range(60)]
    stored(store_url, 0.06, heads)
    site = tmp_path / "site"
    code, out, _ = run_cli(capsys, "track", "publish", str(site), "--url", "https://x.test/perf")
    assert code == 0
    assert str(site / "index.html") in out
    index = (site / "index.html").read_text()
    pages = sorted((site / "cases").iterdir())
    assert len(pages) == 2
    assert all(f'href="cases/{p.name}"' in index for p in pages)
    assert index.index("regression</span>") < index.index("noise</span>")
    worst = next(p for p in pages if "fp32" in p.name).read_text()
    assert "driver: 550 → 570" in worst
    assert ">S1</text>" in worst
    assert "https://" not in index.replace("https://x.test", "")
    atom = "{http://www.w3.org/2005/Atom}"
    feed = ElementTree.parse(site / "feed.xml").getroot()
    (entry,) = feed.findall(f"{atom}entry")
    link = entry.find(f"{atom}link")
    assert link is not None
    assert str(link.get("href")).startswith("https://x.test/perf/cases/")
    # Told once: the entry of the same change keeps its id on the next night.
    with Store(store_url) as store:
        fill(store, [(CASE, [measured(1.06e-3)])], [night(60, {"gpu.driver": "570"})])
    (site / "cases" / "mine.html").write_text("not of the dashboard")
    run_cli(capsys, "track", "publish", str(site))
    again = ElementTree.parse(site / "feed.xml").getroot().find(f"{atom}entry/{atom}id")
    assert again is not None
    assert again.text == entry.findtext(f"{atom}id")
    # The page of a case that is no longer measured goes, what others put there stays.
    assert sorted(p.name for p in (site / "cases").iterdir()) == sorted(
        ["mine.html", next(p.name for p in pages if "fp32" in p.name)]
    )


def test_an_empty_store_is_published_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_cli(capsys, "track", "publish", str(tmp_path / "site"))[0] == 0
    assert "no history yet" in (tmp_path / "site" / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check"], "is empty"),
        (["check", "--floor", "2"], "is no share"),
        (["check", "--fdr", "x%"], "--fdr"),
        (["check", "--format", "xml"], "xml"),
        (["accept"], "--reason"),
        (["accept", "--reason", " "], "an empty reason"),
        (["accept", "--reason", "x", "--all", "--case", "y"], "exclude"),
        (["publish", "site", "--suite", "nope"], "no history of suite 'nope'"),
        (["publish", "/dev/null/site"], "cannot be written"),
        (["show", "x"], "is empty"),
    ],
)
def test_bad_input_is_one_message(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run_cli(capsys, "track", *arguments)
    assert code == 2
    assert words in err
    assert "Traceback" not in err


def test_unknown_cases_and_nothing_to_accept(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(store_url, 0.0)
    code, _, err = run_cli(capsys, "track", "show", "squere")
    assert code == 2
    assert "did you mean 'square'" in err
    code, _, err = run_cli(capsys, "track", "accept", "--reason", "x")
    assert code == 2
    assert "--case CASE or --all" in err


def test_two_checks_at_once_and_an_acceptance_between(store_url: str, tmp_path: Path) -> None:
    """Several processes read and accept in one store: each ends as if it were alone."""
    stored(store_url, 0.10)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "gpubench", "track", "check", "--format", "json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        )
        for _ in range(2)
    ]  # fmt: skip
    found = [p.communicate(timeout=120) for p in running]
    assert [p.returncode for p in running] == [1, 1], found
    assert found[0][0] == found[1][0]
    accepting = [
        subprocess.Popen(
            [sys.executable, "-m", "gpubench", "track", "accept", "--all", "--reason", f"by {i}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        )
        for i in range(2)
    ]  # fmt: skip
    told = [p.communicate(timeout=120) for p in accepting]
    assert [p.returncode for p in accepting] == [0, 0], told
    with Store(store_url) as store:
        (device, _), *_ = store.machines()
        reasons = sorted({a.reason for a in store.accepted_on_all(device)})
    assert reasons == ["by 0", "by 1"]
