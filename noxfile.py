"""Sessions: ``nox -l`` lists them, ``nox -s tests`` runs one."""

from __future__ import annotations

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session, extra: str) -> None:
    """Install the project with what was tested; on CPU that keeps CUDA out."""
    session.install("-c", "constraints.txt", f".[{extra}]")


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test that this machine can."""
    install(session, "test")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, imports and layers."""
    install(session, "dev")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types strictly."""
    install(session, "dev")
    session.run("mypy")


@nox.session(venv_backend="none")
def gpu(session: nox.Session) -> None:
    """Run the tests marked gpu, in the present environment, which has the right torch."""
    session.run("python", "-m", "pytest", "-m", "gpu", "-rs", *session.posargs, external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; any warning fails."""
    install(session, "docs")
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure gpubench itself: start-up, agreement with other harnesses, overhead."""
    install(session, "dev")
    names = (
        "startup",
        "planning",
        "overhead",
        "harness",
        "telemetry",
        "fleet",
        "reports",
        "suites",
    )
    for name in names:
        session.run("python", f"benchmarks/{name}.py", "--save", *session.posargs)


@nox.session
def model(session: nox.Session) -> None:
    """Score the cost model, leaving one GPU out at a time."""
    install(session, "dev")
    session.run("python", "benchmarks/model/score.py", *session.posargs)
    for name in ("score_steps", "score_published", "score_power"):
        session.run("python", f"benchmarks/model/{name}.py")
