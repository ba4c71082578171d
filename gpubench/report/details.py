"""The details of one case: everything a doubter would ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gpubench.analysis.attribution import Part
from gpubench.analysis.flags import flag_info
from gpubench.analysis.naming import value_text
from gpubench.analysis.results import Interval, Result
from gpubench.analysis.scaling import Efficiency
from gpubench.analysis.tensor_cores import likely_cause, truth_table
from gpubench.record import Failure, Measurement, Summary
from gpubench.report.applications import application_facts
from gpubench.report.quality import PREFIX, quality_facts
from gpubench.report.ranges import range_facts
from gpubench.report.scaling import scaling_facts
from gpubench.report.shares import share_facts
from gpubench.report.steps import step_facts
from gpubench.report.view import Fact, Group
from gpubench.report.wording import CACHES, FAILURES, METHODS, STOPS, TENSOR_CORES, explained
from gpubench.stats import joules_per, quantile
from gpubench.units import METRICS, bytes_iec, percent, scaled, show, significant

_MAX_KERNELS = 8
_MAX_MODULES = 16
FACT_NAMES: Mapping[str, str] = {
    "cudnn.version": "cuDNN",
    "cudnn.engine": "cuDNN engine",
    "cudnn.heuristic_rank": "Place in the heuristic's list, from 0",
    "cudnn.workspace_bytes": "Workspace",
    "cudnn.numerical_notes": "Numerical notes",
    "cudnn.behavior_notes": "Behaviour notes",
    "sdpa.backend": "Attention backend",
    "samples_per_step": "Samples of a step",
    "tokens_per_step": "Tokens of a step",
    "flops_per_step": "FLOPs of a step, by torch's counter",
    "parameters": "Parameters",
    "trained_parameters": "Parameters that are trained",
    "weights_bytes": "Memory of weights",
    "gradients_bytes": "Memory of gradients",
    "optimizer_state_bytes": "Memory of the optimizer's state",
    "activations_bytes": "Memory of activations",
    "peak_memory_bytes": "Peak memory of torch's allocator",
    "first_step_s": "First step, compilation included, in seconds",
    "profile.span_s": "Traced call, with tracing",
    "profile.kernel_s": "Kernels of a call, together",
    "profile.launches": "Launches a call",
    "profile.trace": "Perfetto trace",
    "profile.no_ranges": "No NVTX ranges of others",
    "energy.idle_w": "Idle power beside it",
    "energy.sensor_period_s": "Period of the energy sensor",
    "energy.integral_against_counter": "Integrated power / counter - 1",
    "energy.calls": "Calls for the energy",
    "energy.phases_against_step": "Energy of the phases together / the step - 1",
    "switch.matmul.allow_tf32": "TF32 allowed in products",
    "switch.cudnn.allow_tf32": "TF32 allowed in convolutions",
    "switch.float32_matmul_precision": "torch.get_float32_matmul_precision()",
}
"""Facts of a measurement by their names for people; others are shown by their keys."""


TOLD = ("dialogue.", "parallel.", "ranking.", "stream.")
"""Facts that stand under headings of their own."""


def detail_groups(
    result: Result,
    names: Mapping[str, str],
    parts: Sequence[Part] = (),
    efficiency: Efficiency | None = None,
) -> tuple[Group, ...]:
    """The details of a case in groups; ``names`` names the baseline.

    Args:
        parts: measured minus predicted, attributed.
        efficiency: of a step among steps of other numbers of ranks.
    """
    groups = [Group("Outcome", tuple(_outcome(result)))]
    m, s = result.measurement, result.summary
    if m and s:
        groups += [
            Group("Time per call", tuple(_time(s))),
            Group("How it was measured", tuple(_method(m, s))),
            Group("What follows", tuple(_derived(result, names))),
            Group("Between the ranks", tuple(scaling_facts(result, efficiency))),
            Group("What users wait for", tuple(application_facts(result))),
            Group("The step", tuple(step_facts(result))),
            Group("What the step is made of", tuple(share_facts(result))),
            Group("What it learned", tuple(quality_facts(result))),
            Group("Measured minus model", tuple(_attributed(parts))),
            Group("Correctness", tuple(_correctness(result, m))),
            Group("Did Tensor Cores run?", tuple(_witnesses(result))),
            Group("As it ran", tuple(as_it_ran(m))),
            Group("Ranges", tuple(range_facts(m.ranges))),
            Group("Kernels", tuple(_kernels(m))),
            Group("Kernels by module", tuple(_modules(m))),
            Group("Sensors", tuple(_sensors(result, m))),
        ]
    groups.append(Group("Case", tuple(_case(result))))
    return tuple(g for g in groups if g.facts)


def _outcome(result: Result) -> Iterable[Fact]:
    outcome = result.record.outcome
    if isinstance(outcome, Failure):
        yield Fact("Failed", f"{FAILURES.get(outcome.kind, outcome.kind)}: {outcome.reason}")
    elif not isinstance(outcome, Measurement):
        yield Fact("Skipped", outcome.reason)
    for flag in result.flags:
        info = flag_info(flag)
        yield Fact(info.title[:1].upper() + info.title[1:], info.meaning)


def _time(s: Summary) -> Iterable[Fact]:
    yield Fact("Median", scaled(s.median_s, "s", 4))
    level = f"{percent(s.ci_level)} interval" if s.ci_level < 0.95 else "95 % interval"
    yield Fact(level, f"{scaled(s.ci_low_s, 's', 4)} to {scaled(s.ci_high_s, 's', 4)}")
    yield Fact("Fastest", scaled(s.min_s, "s", 4))
    yield Fact("Mean", scaled(s.mean_s, "s", 4))
    yield Fact("Interquartile range", f"{scaled(s.iqr_s, 's')} ({percent(s.rel_noise)})")
    if s.host_enqueue_s is not None:
        yield Fact("Host enqueue", scaled(s.host_enqueue_s, "s"))


def _method(m: Measurement, s: Summary) -> Iterable[Fact]:
    spoiled = f", {s.n_spoiled} spoiled" if s.n_spoiled else ""
    launches = len(m.samples.launches)
    spread = f", over {launches} process launches" if launches > 1 else ""
    yield Fact("Samples", f"{len(m.samples.times_s)}{spoiled}{spread}")
    for reason in dict.fromkeys(m.samples.spoiled.values()):
        yield Fact("Spoiled by", reason)
    yield Fact("Calls per sample", str(m.samples.calls_per_sample))
    yield Fact("Method", explained(m.method, METHODS))
    yield Fact("Cache", explained(m.cache, CACHES))
    yield Fact("Stopped because", STOPS.get(m.stopped_by, m.stopped_by))
    if m.floor_s is not None:
        yield Fact("Clock floor", scaled(m.floor_s, "s"))
    yield Fact("Warm-up", f"{m.warmup_calls} calls")
    yield Fact("Input sets", str(m.input_sets))
    if m.measuring_s:
        yield Fact("Time spent measuring", scaled(m.measuring_s, "s"))


def _derived(result: Result, names: Mapping[str, str]) -> Iterable[Fact]:
    work, peaks, model = result.record.case.work, result.record.peaks, result.record.model
    if work:
        yield Fact("FLOPs", f"{scaled(work.flops, 'FLOP')} ({work.formula or 'formula not given'})")
        yield Fact("Compulsory traffic", scaled(work.bytes, "B"))
        if work.footprint_bytes:
            yield Fact("Memory footprint", bytes_iec(work.footprint_bytes))
        if work.intensity is not None:
            yield Fact("Arithmetic intensity", show("intensity", work.intensity))
    if result.flops_per_s:
        yield Fact("Throughput", interval_text("flops_per_s", result.flops_per_s))
    if result.bytes_per_s:
        yield Fact("Traffic rate", interval_text("bytes_per_s", result.bytes_per_s))
    if peaks.flops_per_s:
        yield Fact("Peak rate", show("flops_per_s", peaks.flops_per_s))
    if peaks.bytes_per_s:
        yield Fact("Peak bandwidth", show("bytes_per_s", peaks.bytes_per_s))
    if peaks.flops_per_s or peaks.bytes_per_s:
        yield Fact("Source of the peak", peaks.source or "not recorded")
        yield Fact("Share of peak", f"{show('share_of_peak', result.share_of_peak)} of"
                   f" {result.peak_kind} peak")  # fmt: skip
    else:
        yield Fact("Peak", "–", "no peak is known for this device and precision")
    base = names.get(result.record.case.baseline or "")
    if result.speedup:
        against = f" {result.speedup_note}" + (f", {base}" if base else "")
        yield Fact("Speed-up", interval_text("speedup", result.speedup) + against)
    else:
        yield Fact("Speed-up", "–", result.speedup_note)
    if model.predicted_s is not None:
        band = (
            f" ({scaled(model.low_s, 's')} to {scaled(model.high_s, 's')})"
            if model.low_s is not None and model.high_s is not None
            else ""
        )
        bound = f", {model.bound}-bound" if model.bound else ""
        yield Fact("Predicted by the cost model", f"{scaled(model.predicted_s, 's')}{band}{bound}")
    if model.calibrated_s is not None:
        yield Fact("Expected after calibration", scaled(model.calibrated_s, "s"))


def interval_text(metric: str, interval: Interval) -> str:
    """A value and its interval: ``12.3x (12.1x to 12.6x)``."""
    low, high = show(metric, interval.low), show(metric, interval.high)
    return f"{show(metric, interval.value)} ({low} to {high})"


def _attributed(parts: Sequence[Part]) -> Iterable[Fact]:
    for part in parts:
        sign = "−" if part.seconds < 0 else "+"
        name = part.name[:1].upper() + part.name[1:]
        yield Fact(name, f"{sign}{scaled(abs(part.seconds), 's')}: {part.why}")


def _correctness(result: Result, m: Measurement) -> Iterable[Fact]:
    if m.accuracy is None:
        yield Fact("Error against FP64", "–", "not checked")
    else:
        verdict = "within" if m.accuracy.ok else "beyond"
        yield Fact(
            "Error against FP64",
            f"{m.accuracy.rel_error:.1e}, {verdict} the tolerance of {m.accuracy.tolerance:.1e}",
        )
        yield Fact("Reference", m.accuracy.reference)
    cores = m.tensor_cores
    if cores and cores.verdict != "not_applicable":
        yield Fact("Tensor Cores", TENSOR_CORES.get(cores.verdict, cores.verdict))
        for line in cores.evidence:
            yield Fact("Evidence", line)
        if "tensor_cores_not_used" in result.flags:
            yield Fact("Likely cause", likely_cause(result)[0])
        for kernel in cores.kernels[:_MAX_KERNELS]:
            yield Fact("Kernel", kernel)
        if len(cores.kernels) > _MAX_KERNELS:
            yield Fact("Kernels left out", str(len(cores.kernels) - _MAX_KERNELS))


def _witnesses(result: Result) -> Iterable[Fact]:
    """The truth table: what each witness says, and by what."""
    for w in truth_table(result):
        yield Fact(w.name[:1].upper() + w.name[1:], w.says, w.evidence)


def as_it_ran(m: Measurement) -> Iterable[Fact]:
    """What the workload said of how it was done, and the switches that held."""
    for name, value in m.facts.items():
        if value is None or name.startswith((PREFIX, *TOLD)):
            continue
        title = FACT_NAMES.get(name, name)
        if name.endswith("_bytes") and isinstance(value, int | float):
            yield Fact(title, bytes_iec(value))
        elif name.endswith(("_s", "_w")) and isinstance(value, int | float):
            yield Fact(title, scaled(value, name[-1].replace("w", "W")))
        else:
            yield Fact(title, value_text(value) or "none")


def _kernels(m: Measurement) -> Iterable[Fact]:
    """The kernels of a profiled call (on CPU: operators), by their share."""
    whole = sum(k.time_s for k in m.kernels)
    for k in m.kernels[:_MAX_KERNELS]:
        share = percent(k.time_s / whole) if whole > 0 else "–"
        launches = f"{k.count:g} a call"
        grid = f", grid {'x'.join(map(str, k.grid))}, block {'x'.join(map(str, k.block))}"
        shape = grid if k.grid else ""
        places = ([k.module] if k.module else []) + ([f"range {k.range}"] if k.range else [])
        why = f"in {', '.join(places)}" if places else ""
        yield Fact(k.name, f"{share}, {scaled(k.time_s, 's')}, {launches}{shape}", why)
    if len(m.kernels) > _MAX_KERNELS:
        rest = sum(k.time_s for k in m.kernels[_MAX_KERNELS:])
        yield Fact(f"{len(m.kernels) - _MAX_KERNELS} more", scaled(rest, "s"))


def _modules(m: Measurement) -> Iterable[Fact]:
    """Device time by module of the network, repeated layers as one, by their share."""
    times: dict[str, float] = {}
    for k in m.kernels:
        name = k.module or "outside of modules"
        times[name] = times.get(name, 0.0) + k.time_s
    if not any(k.module for k in m.kernels):
        return
    whole = sum(times.values())
    ordered = sorted(times.items(), key=lambda item: -item[1])
    for name, took_s in ordered[:_MAX_MODULES]:
        yield Fact(name, f"{percent(took_s / whole) if whole > 0 else '–'}, {scaled(took_s, 's')}")
    rest = ordered[_MAX_MODULES:]
    if rest:
        yield Fact(f"{len(rest)} more", scaled(sum(t for _, t in rest), "s"))


def _sensors(result: Result, m: Measurement) -> Iterable[Fact]:
    metrics = dict.fromkeys(name for r in m.readings for name in r.values)
    for name in metrics:
        values = sorted(r.values[name] for r in m.readings if name in r.values)
        title = METRICS[name].title if name in METRICS else name
        parts = [_metric(name, quantile(values, q)) for q in (0.0, 0.5, 1.0)]
        yield Fact(title, f"{parts[1]} (from {parts[0]} to {parts[2]})")
    for reason in dict.fromkeys(reason for r in m.readings for reason in r.reasons):
        yield Fact("Clock event", reason)
    for key, why in result.run.environment.facts.items():
        sensor = key.removeprefix("sensor.")
        if sensor != key and sensor not in metrics and why is not None:
            title = METRICS[sensor].title if sensor in METRICS else sensor.replace("_", " ")
            yield Fact(title, "–", str(why))


def _metric(name: str, value: float) -> str:
    return show(name, value) if name in METRICS else significant(value)


def _case(result: Result) -> Iterable[Fact]:
    record = result.record
    case, policy, energy = record.case, record.case.policy, record.energy
    yield Fact("Parameters", " ".join(f"{k}={value_text(v)}" for k, v in case.params.items()))
    yield Fact("Workload", f"{case.workload} in {case.precision}, benchmark {case.benchmark}")
    yield Fact("Device", f"{record.device.name} ({result.provenance})" if result.summary
               else record.device.name)  # fmt: skip
    if result.summary:
        yield Fact(
            "Policy",
            f"{scaled(policy.min_time_s, 's')} to {scaled(policy.max_time_s, 's')},"
            f" target ±{percent(policy.target_rel_ci)}, {policy.min_samples} to"
            f" {policy.max_samples} samples, cache {policy.cache}, {policy.data} inputs",
        )
        if energy.joules is not None:
            method = f" ({energy.method})" if energy.method else ""
            yield Fact(
                "Energy per call", show("energy_j", energy.joules) + method, energy.reason or ""
            )
            for what, joules in joules_per(record).items():
                yield Fact(f"Energy per {what}", show("energy_j", joules))
        else:
            yield Fact("Energy per call", "–", energy.reason or "not measured")
    if record.started_at:
        yield Fact("Started", record.started_at)
    yield Fact("Key", case.key)
