"""``gpubench run``: measure suites."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpubench.cli.options import console, filter_option, store_option
from gpubench.errors import GateFailed, InputError, PartialFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpubench.api import RunRequest, RunResult
    from gpubench.cli.progress import Progress
    from gpubench.spec import Profiling

T = TypeVar("T")
L = TypeVar("L")


def fleet_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What makes a run one of many devices."""
    for option in (
        click.option("--per-node", is_flag=True,
                     help="With --launcher ray: one task a node, not a GPU."),
        click.option("--address", metavar="HOST:PORT",
                     help="Of the Ray cluster. [default: RAY_ADDRESS, else this machine alone]"),
        click.option("--fleet", metavar="NAME",
                     help="Make the run one of this fleet, for `report --fleet`; with --launcher"
                     " ray the fleet's name."),
        click.option("--launcher", type=click.Choice(["local", "ray"]), default="local",
                     show_default=True, help="ray: every GPU of a cluster."),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command()
@click.argument("suites", nargs=-1, metavar="SUITE...")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--label", metavar="NAME", help="Name of the run, for `report` and `--compare`.")
@store_option
@filter_option
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE",
    help="Change the suite: policy.max_time_s=1, size=[256,512]. Repeatable.",
)  # fmt: skip
@click.option("--quick", is_flag=True, help="Fewer cases, less careful; results say so.")
@click.option("--dry-run", is_flag=True, help="Show what would run and what would be skipped.")
@click.option("--resume", metavar="RUN", help="Continue a run: id, label or `latest`.")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), default=Path("reports"),
    show_default=True, help="Folder for the report.",
)  # fmt: skip
@click.option("--json", "json_path", metavar="PATH", help="Also write JSON; `-`: to stdout, alone.")
@click.option("--no-report", is_flag=True, help="Do not write the HTML report.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="Wall time per case before it is killed.")  # fmt: skip
@click.option("--lock-clocks", is_flag=True, help="Lock the SM clock to its base (needs root).")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Of order and inputs. [random]")
@click.option("--nproc", type=click.IntRange(1, 1024), default=1, metavar="N",
              help="Ranks on this machine, each with a GPU of its own. [1]")  # fmt: skip
@click.option("--fail-on", "gates", multiple=True, metavar="FLAG",
              help="Exit 1 if a case has this flag (noisy, ...). Repeatable.")  # fmt: skip
@fleet_options
@click.option("-q", "--quiet", is_flag=True, help="Print the report's path only.")
@click.option("-v", "--verbose", is_flag=True, help="More about every case.")
def run(suites: tuple[str, ...], **options: Any) -> None:
    """Run SUITE... (a path, or the bare name of a built-in such as `tensorcore`).

    Every result is stored as it arrives. A case that fails never stops the run.
    """
    if not suites and not options["resume"]:
        raise InputError("no suite given", expected="e.g. gpubench run tensorcore")
    if options["resume"] and len(suites) > 1:
        raise InputError("--resume continues one run", expected="at most one SUITE with it")
    follow_job(options["nproc"])
    gates = checked_gates(options["gates"])
    request = request_of(suites, options)
    if options["launcher"] == "ray":
        from gpubench.cli.fleet import run_fleet

        if options["nproc"] > 1:
            raise InputError("each task of a fleet is one device", expected="no --nproc with ray")
        check_writable(options)
        run_fleet(request, options, gates)
        return
    for name in ("address", "per_node"):
        if options[name]:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag} is for a cluster", expected=f"--launcher ray with {flag}")
    if options["dry_run"]:
        show_plans(request, options["resume"])
        return
    check_writable(options)
    results = execute(request, options)
    finish(results, options, gates)


def request_of(
    suites: tuple[str, ...], options: dict[str, Any], profiling: Profiling | None = None
) -> RunRequest:
    """What the options that `run` and `profile` share ask for."""
    from gpubench.api import RunRequest

    return RunRequest(
        suites=suites,
        device=options["device"],
        label=options["label"],
        store=options["store"],
        filter=options["filter_text"],
        settings=options["settings"],
        quick=options["quick"],
        seed=options["seed"],
        timeout_s=options["timeout"],
        lock_clocks=options["lock_clocks"],
        profiling=profiling,
        nproc=options.get("nproc", 1),
        fleet=options.get("fleet"),
    )


def follow_job(nproc: int) -> None:
    """In a job of torchrun or Slurm: every rank but the first only brings its device, and ends.

    Raises:
        InputError: ``--nproc`` within a job, which has its ranks already.
    """
    from gpubench.launch.job import current, follow

    job = current()
    if job is None:
        return
    if nproc > 1:
        raise InputError(
            f"--nproc within a job of {job.by} with {job.world} ranks", expected="no --nproc"
        )
    if job.rank > 0:
        raise SystemExit(follow(job))


def checked_gates(names: tuple[str, ...]) -> tuple[str, ...]:
    """The ``--fail-on`` flags, also comma-separated.

    Raises:
        UnknownName: no flag of that name.
    """
    from gpubench.engine.trust import FLAGS
    from gpubench.errors import UnknownName

    wanted = tuple(part.strip() for name in names for part in name.split(",") if part.strip())
    for name in wanted:
        if name not in FLAGS:
            raise UnknownName("flag", name, FLAGS)
    return wanted


def check_writable(options: dict[str, Any]) -> None:
    """Find out before measuring, not after, that results could not be written."""
    paths = [] if options["no_report"] else [options["output"] / "x"]
    if options["json_path"] not in (None, "-"):
        paths.append(Path(options["json_path"]))
        if Path(options["json_path"]).is_dir():
            raise InputError("is a folder", file=options["json_path"], expected="a file for JSON")
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot write there: {error.strerror}", file=str(path.parent)
            ) from error


def show_plans(request: RunRequest, resume: str | None) -> None:
    """Print what would run."""
    from gpubench.api import dry_run
    from gpubench.cli.suite import print_plan

    if resume:
        raise InputError("--dry-run does not go with --resume")
    for plan in dry_run(request):
        print_plan(plan)


def execute(request: RunRequest, options: dict[str, Any]) -> list[RunResult]:
    """Run or resume, with progress on stderr."""
    from gpubench import api

    def go(listener: Progress) -> list[RunResult]:
        if options["resume"]:
            return [api.resume(options["resume"], request, listener)]
        return api.run(request, listener)

    return execute_listening(go, options["quiet"], options["verbose"])


def execute_listening(job: Callable[[Progress], T], quiet: bool, verbose: bool = False) -> T:
    """Do a job that measures, with progress on stderr; SIGTERM ends it as Ctrl-C does."""
    from gpubench.cli.options import console
    from gpubench.cli.progress import Progress

    return listening(job, Progress(console(stderr=True), quiet, verbose))


def listening(job: Callable[[L], T], watching: AbstractContextManager[L]) -> T:
    """Do a job with its listener at work; SIGTERM ends it as Ctrl-C does."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        with watching as listener:
            return job(listener)
    finally:
        signal.signal(signal.SIGTERM, previous)


def finish(results: list[RunResult], options: dict[str, Any], gates: tuple[str, ...]) -> None:
    """Table, JSON, report; then the verdict as an exit code."""
    from gpubench import api
    from gpubench.codec import dumps

    chosen = [(r.run, r.records) for r in results]
    to_stdout = options["json_path"] == "-"
    if not options["quiet"] and not to_stdout:
        from gpubench.report.table import results_table

        for result in results:
            console().print(results_table(result.records))
    if options["json_path"]:
        text = dumps(api.documents(chosen), indent=1)
        if to_stdout:
            click.echo(text)
        else:
            Path(options["json_path"]).write_text(text + "\n", encoding="utf-8")
    if not options["no_report"]:
        path = api.write_report(chosen, options["output"] / api.report_name(chosen, "html"))
        click.echo(f"report: {path}", err=to_stdout)
    judge(results, gates)


def judge(results: list[RunResult], gates: tuple[str, ...]) -> None:
    """Raise for failed cases (exit 3) or a gate that did not hold (exit 1)."""
    from gpubench.api import flags

    hits = [
        (r.case, flag, where(result)) for result in results for r in result.records
        for flag in flags(r) if flag in gates
    ]  # fmt: skip
    failed = [(r, where(result)) for result in results for r in result.failed]
    if hits:
        case, flag, place = hits[0]
        raise GateFailed(
            f"--fail-on: {len(hits)} case(s), first {case.benchmark} {case.label}"
            f" {case.precision}{place}: {flag}"
        )
    if failed:
        first, place = failed[0]
        why = getattr(first.outcome, "reason", "wrong result")
        raise PartialFailure(
            f"{len(failed)} case(s) failed, first {first.case.benchmark} {first.case.label}"
            f" {first.case.precision}{place}: {why}; the rest is stored"
        )


def where(result: RunResult) -> str:
    """The slot of a run that is one of a fleet, for messages."""
    slot = result.run.settings.get("slot")
    return f" on {slot}" if slot else ""
