"""Measure a callable from Python, in the caller's own process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, Unpack

from gpubench.errors import InputError, UnknownName, Unsupported
from gpubench.plan import case_key
from gpubench.record import Measurement, Samples, Summary
from gpubench.spec import PRECISIONS, Case, Policy, Value, Work
from gpubench.stats import summarize as summarize_samples

if TYPE_CHECKING:
    from gpubench.engine.runner import Runner
    from gpubench.ports import Device
    from gpubench.workloads.kernel import Kernel

Function = Callable[..., object]

OF_PROCESSES: Final = ("launches", "timeout_s")
"""Policy keys that need worker processes."""


class PolicyFields(TypedDict, total=False):
    """The fields of ``Policy`` that hold within one process."""

    min_time_s: float
    max_time_s: float
    target_rel_ci: float
    min_samples: int
    max_samples: int
    warmup_s: float
    cache: Literal["auto", "cold", "rotating", "hot"]
    data: Literal["normal", "uniform", "zeros"]


class Options(PolicyFields, total=False):
    """What ``measure`` takes beside the function and its arguments.

    Attributes:
        kwargs: keyword arguments of the function.
        setup: makes the inputs of one input set, in place of arguments.
        reference: computes the same in FP64.
        tolerance: largest relative error against it; by default that of the precision.
        flops, bytes: what one call does and moves.
        precision: whose switches are set meanwhile.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        seed: of the inputs that ``setup`` makes.
    """

    kwargs: Mapping[str, Any]
    setup: Function | None
    reference: Function | None
    tolerance: float | None
    flops: float | None
    bytes: float | None
    precision: str
    device: str
    seed: int


def measure(fn: Function, *args: Any, **options: Unpack[Options]) -> Measurement:
    """Measure ``fn(*args)`` as a suite would, in this process.

    ::

        m = gpubench.measure(torch.mm, a, b, flops=2 * n**3)
        gpubench.summarize(m).median_s

    With ``setup`` inputs are made afresh for each input set that the cache policy needs;
    it may name ``device``, ``dtype``, ``precision``, ``seed`` and ``data``, and returns a
    tuple of arguments, a dict of keywords, or the one argument. Device ``auto`` is where
    the first tensor among the arguments is; without one, CUDA if it is there. torch's
    switches, threads and random numbers are afterwards as they were. Every option is
    described in ``Options``; the fields of ``Policy`` are options too.

    Raises:
        InputError: an option that does not fit.
        Unsupported: the device does not have the precision.
        Exception: whatever ``fn``, ``setup`` or ``reference`` raises.
    """
    asked = ask(fn, args, options)
    title = getattr(fn, "__name__", type(fn).__name__)
    case = asked.case("python", title, {"target": title})
    with opened(asked) as device:
        return asked.measured_on(device, case)


def summarize(measured: Measurement | Samples) -> Summary:
    """Median, its interval and the noise of a measurement."""
    return summarize_samples(measured.samples if isinstance(measured, Measurement) else measured)


@dataclass(frozen=True, slots=True)
class Asked:
    """A call to measure, and how."""

    kernel: Kernel
    work: Work | None
    policy: Policy
    device: str
    seed: int

    def case(self, benchmark: str, label: str, identity: Mapping[str, Value]) -> Case:
        """The case that a record of this call belongs to."""
        precision = self.kernel.precision
        return Case(
            key=case_key("custom", precision, identity),
            benchmark=benchmark,
            workload="custom",
            precision=precision,
            params=dict(identity),
            policy=self.policy,
            work=self.work,
            label=label,
        )

    def measured_on(self, device: Device, case: Case) -> Measurement:
        """Measure on an open device.

        Raises:
            Unsupported: it does not have the precision.
        """
        reason = device.info.unsupported.get(case.precision)
        if reason:
            raise Unsupported(reason)
        with _runner(device) as runner:
            return runner.measured(case, self.kernel, self.seed)


@contextmanager
def opened(asked: Asked) -> Iterator[Device]:
    """The device of a call, in this process, which is left as it was found."""
    from gpubench.devices.borrowing import borrowed

    with borrowed(asked.device) as device:
        try:
            yield device
        finally:
            device.release()


@contextmanager
def _runner(device: Device) -> Iterator[Runner]:
    from gpubench.devices.opening import translate_cuda
    from gpubench.engine.runner import Runner
    from gpubench.engine.worker import open_probe

    probe, _facts = open_probe(device.info)
    tracer = None
    if device.info.type == "cuda":
        from gpubench.telemetry.kernels import TorchTracer

        tracer = TorchTracer(device.info)
    with closing(probe) if probe else nullcontext():
        yield Runner(device, probe, tracer, translate_cuda)


def ask(fn: Function, args: tuple[Any, ...], options: Options) -> Asked:
    """Check the options and put a call together; nothing runs.

    Raises:
        InputError: with ``key`` set to the option that does not fit.
    """
    from gpubench.devices.borrowing import device_of
    from gpubench.workloads.kernel import Inputs, Kernel

    known = {**Options.__annotations__, **PolicyFields.__annotations__}
    for name in options:
        if name in OF_PROCESSES:
            raise InputError(
                f"{name} is of worker processes", key=name, expected="a suite with custom"
            )
        if name not in known:
            raise UnknownName("option", name, known).at(key=name)
    given: dict[str, Any] = dict(options)
    policy = _policy({k: given.pop(k) for k in PolicyFields.__annotations__ if k in given})
    precision, setup = given.get("precision", "fp32"), given.get("setup")
    if precision not in PRECISIONS:
        raise UnknownName("precision", str(precision), PRECISIONS).at(key="precision")
    kwargs = dict(given.get("kwargs") or {})
    if setup is not None and (args or kwargs):
        raise InputError("both setup and arguments", key="setup", expected="one of the two")
    if setup is None and policy.cache == "rotating":
        raise InputError(
            "rotating over one input set", key="cache", expected="setup=, to make several"
        )
    device = str(given.get("device", "auto"))
    if device == "auto":
        device = device_of(*args, *kwargs.values()) or "auto"
    return Asked(
        Kernel(
            target=fn,
            setup=setup,
            reference=given.get("reference"),
            precision=str(precision),
            tolerance=_count("tolerance", given.get("tolerance")),
            given=Inputs(args, kwargs) if setup is None else None,
        ),
        _work(_count("flops", given.get("flops")), _count("bytes", given.get("bytes"))),
        policy,
        device,
        int(given.get("seed", 0)),
    )


def _work(flops: float | None, moved: float | None) -> Work | None:
    if flops is None and moved is None:
        return None
    return Work(flops or 0.0, moved or 0.0, moved or 0.0, "given by the caller")


def _count(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{value!r} found", key=name, expected="a number")
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{value!r} found", key=name, expected="a finite number, at least 0")
    return float(value)


def _policy(fields: Mapping[str, Any]) -> Policy:
    from pydantic import ValidationError as PydanticError

    from gpubench.schema import PolicyModel, describe

    try:
        PolicyModel.model_validate(dict(fields))
    except PydanticError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0])
        text, expected, near = describe(problem, [], ["policy", name])
        raise InputError(text, key=name, expected=expected, nearest=near) from None
    return Policy(**fields)
