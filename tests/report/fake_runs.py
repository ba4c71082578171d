"""Synthetic runs that look like real ones: a CPU run, a GPU run with troubles, large ones."""

from __future__ import annotations

import math
import random

from gpubench.record import (
    Accuracy,
    DeviceRef,
    Environment,
    Failure,
    Measurement,
    Modelled,
    Peaks,
    Reading,
    Record,
    Run,
    Samples,
    Skip,
    TensorCoreUse,
)
from gpubench.spec import ELEMENT_BYTES, Case, Policy, Work

CPU = DeviceRef("cpu", "AMD EPYC 7B13 64-Core Processor")
A100 = DeviceRef("cuda", "NVIDIA A100-SXM4-40GB", "a100-sxm4-40gb")
PEAKS = {"fp64": 9.7e12, "fp32": 19.5e12, "tf32": 156e12, "fp16": 312e12, "bf16": 312e12}
BANDWIDTH = 1.555e12
EPS = {"fp64": 2e-16, "fp32": 6e-8, "tf32": 5e-4, "fp16": 5e-4, "bf16": 4e-3, "fp8": 6e-2}

CPU_ENV = {
    "host.name": "bench-02", "host.os": "Debian GNU/Linux 12", "host.kernel": "6.1.0-18-amd64",
    "cpu.model": "AMD EPYC 7B13 64-Core Processor", "cpu.cores": 2, "cpu.governor": None,
    "cpu.load_1m": 0.42, "memory.total_bytes": 8_322_129_920, "python.version": "3.11.2",
    "torch.version": "2.13.0+cpu", "torch.cuda": None, "gpubench.version": "0.1.0",
    "git.commit": "9e1cff4c21", "git.dirty": False, "switch.NVIDIA_TF32_OVERRIDE": None,
    "switch.torch.float32_matmul_precision": "highest", "switch.torch.num_threads": 2,
}  # fmt: skip
GPU_ENV = CPU_ENV | {
    "torch.version": "2.13.0+cu130", "torch.cuda": "13.0", "cuda.driver_version": "13.0",
    "cuda.runtime_version": "13.0", "cudnn.version": "9.14.0", "cublas.version": "13.1.0",
    "nccl.version": None, "gpu.name": A100.name, "gpu.driver": "580.82.07",
    "gpu.uuid": "GPU-5c1f2a70-8a0d-4d53-9a11-0c9b1c2d3e4f", "gpu.pci_id": "0000:07:00.0",
    "gpu.sm_count": 108, "gpu.l2_bytes": 41_943_040, "gpu.memory_bytes": 42_505_273_344,
    "gpu.compute_capability": "8.0", "gpu.power_limit_w": 400.0, "gpu.clock_sm_max_hz": 1.41e9,
    "gpu.clock_locked": False, "gpu.ecc": True, "gpu.mig": False, "gpu.persistence": True,
    "gpu.temperature_c": 41.0, "cpu.governor": "powersave", "cpu.cores": 64, "git.dirty": True,
    "switch.torch.cudnn.allow_tf32": True,
}  # fmt: skip


def gemm(key: str, benchmark: str, precision: str, m: int, n: int, k: int, baseline: str | None):
    size = ELEMENT_BYTES[precision]
    moved = float(size * (m * k + k * n + m * n))
    return Case(
        key=key,
        benchmark=benchmark,
        workload="gemm",
        precision=precision,
        params={"m": m, "n": n, "k": k, "batch": 1, "transpose": "nn"},
        policy=Policy(),
        work=Work(2.0 * m * n * k, moved, moved, "2·m·n·k"),
        baseline=baseline,
    )


def samples(rng: random.Random, median: float, n: int, noise: float = 0.004, spoiled: int = 0):
    times = [median * math.exp(rng.gauss(0, noise)) for _ in range(n)]
    for i in range(0, n, 17):
        times[i] *= 1 + abs(rng.gauss(0, 6 * noise))
    marked = {}
    for i in range(n - spoiled, n):
        times[i] *= 1.25
        marked[i] = "hardware thermal slowdown"
    host = tuple(5.2e-6 * math.exp(rng.gauss(0, 0.1)) for _ in range(n))
    return Samples(tuple(times), host, marked, 1, (n,))


def measured(rng, case, device, rate, n=120, noise=0.004, spoiled=0, flags=(), wrong=False):
    assert case.work is not None
    error = EPS[case.precision] * (0.5 + rng.random()) * (400 if wrong else 1)
    gpu = device.type == "cuda"
    cores = TensorCoreUse(
        "used" if case.precision in ("tf32", "fp16", "bf16") else "not_used",
        ("kernel name says tensorop", "rate is above the CUDA-core peak"),
        ("ampere_fp16_s16816gemm_fp16_256x128_ldg8_stages_64x3_tn",),
    )
    readings = tuple(
        Reading(0.1 * i, {"clock_hz": 1.38e9 + 1e7 * (i % 3), "power_w": 310.0 + 9 * i,
                          "temperature_c": 52.0 + i}) for i in range(6)
    )  # fmt: skip
    taken = samples(rng, case.work.flops / rate, n, noise, spoiled)
    if not gpu:
        taken = Samples(taken.times_s, (), taken.spoiled, 4, taken.launches)
    return Record(
        case=case,
        device=device,
        outcome=Measurement(
            samples=taken,
            method="events" if gpu else "loop",
            cache="cold" if gpu else "rotating",
            stopped_by="target_ci",
            warmup_calls=12,
            floor_s=2.1e-6 if gpu else 6e-8,
            measuring_s=0.41,
            input_sets=3,
            accuracy=Accuracy(error, EPS[case.precision] * 8, "FP64 on the host, two input sets"),
            tensor_cores=cores if gpu else TensorCoreUse("not_applicable"),
            readings=readings if gpu else (),
            flags=flags,
        ),
        started_at="2026-02-03T10:12:13+00:00",
        peaks=Peaks(PEAKS[case.precision], BANDWIDTH,
                    f"datasheet: a100-sxm4-40gb, {case.precision.upper()}, dense")
        if gpu else Peaks(),
        model=Modelled(case.work.flops / rate * 0.96, case.work.flops / rate * 0.8,
                       case.work.flops / rate * 1.2, "compute") if gpu else Modelled(),
    )  # fmt: skip


def head(identity: str, env, **changes) -> Run:
    given = {
        "id": identity,
        "suite": "tensorcore",
        "started_at": "2026-02-03T10:12:00+00:00",
        "finished_at": "2026-02-03T10:13:18+00:00",
        "description": "GEMM with and without Tensor Cores",
        "environment": Environment(env),
        "status": "finished",
    }
    return Run(**(given | changes))


def key_of(index: int) -> str:
    return f"{index * 2654435761 % 2**48:012x}"


def cpu_run() -> tuple[Run, list[Record]]:
    rng = random.Random(1)
    records: list[Record] = []
    shapes = [("square-gemm", s, s, s) for s in (256, 512, 1024)]
    shapes += [("deepbench", 1760, 16, 1760), ("deepbench", 1760, 64, 1760),
               ("deepbench", 2048, 32, 2048), ("skinny", 4096, 1, 4096),
               ("misaligned", 511, 511, 511)]  # fmt: skip
    why = {
        "tf32": "TF32 is a Tensor Core format; this device is a CPU",
        "fp16": "FP16 GEMM on this CPU has no fast path (no AVX512-FP16)",
        "fp8": "FP8 needs Ada or newer; this device is a CPU",
    }
    for benchmark, m, n, k in shapes:
        base = key_of(len(records) + 1)
        for precision in ("fp32", "bf16", "tf32", "fp16", "fp8"):
            case = gemm(key_of(len(records) + 1), benchmark, precision, m, n, k, base)
            if precision in why:
                records.append(Record(case, CPU, Skip(why[precision])))
                continue
            rate = 9.4e10 * (1 - math.exp(-m * n * k / 2e7)) * (0.21 if precision == "bf16" else 1)
            noise = 0.03 if benchmark == "skinny" else 0.008
            records.append(measured(rng, case, CPU, rate, 60, noise))
    return head("20260203-101200-cpu1", CPU_ENV, planned=len(records)), records


def gpu_run(label: str | None = "acceptance, node 7") -> tuple[Run, list[Record]]:
    rng = random.Random(2)
    records: list[Record] = []
    shapes = [("square-gemm", s, s, s) for s in (1024, 2048, 4096, 8192, 16384)]
    shapes += [("deepbench", m, n, m) for m in (1760, 2048, 2560, 4096) for n in (16, 128, 7000)]
    shapes += [("skinny", 8192, n, 8192) for n in (1, 8, 64)]
    shapes += [("misaligned", s, s, s) for s in (1023, 4095, 8191)]
    for benchmark, m, n, k in shapes:
        base = key_of(len(records) + 1001)
        for precision in ("fp32", "fp64", "tf32", "fp16", "bf16", "fp8"):
            case = gemm(key_of(len(records) + 1001), benchmark, precision, m, n, k, base)
            records.append(_gpu_record(rng, case, benchmark, m, n, k))
    run = head("20260203-101200-a100", GPU_ENV, label=label, planned=len(records))
    return run, records


def _gpu_record(rng: random.Random, case: Case, benchmark: str, m: int, n: int, k: int) -> Record:
    precision = case.precision
    if precision == "fp8":
        return Record(case, A100, Skip("FP8 needs Ada or Hopper; this GPU is Ampere (8.0)"))
    if benchmark == "square-gemm" and m == 16384 and precision == "fp64":
        reason = "CUDA out of memory: tried to allocate 6.00 GiB, 3.12 GiB free"
        trace = (
            'Traceback (most recent call last):\n  File "gemm.py", line 41, in build\n'
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 6.00 GiB."
        )
        return Record(case, A100, Failure("out_of_memory", reason, trace))
    if benchmark == "skinny" and n == 64 and precision == "bf16":
        return Record(
            case, A100, Failure("timeout", "no result within 120 s; the child was killed")
        )
    intensity = case.work.intensity
    roof = min(PEAKS[precision], BANDWIDTH * intensity)
    rate = roof * 0.93 * (1 - math.exp(-(m * n * k) / 2.4e9)) + roof * 0.02
    if benchmark == "misaligned" and precision in ("fp16", "bf16"):
        rate *= 0.45
    flags: tuple[str, ...] = ()
    spoiled, noise = 0, 0.004
    if m == 16384 and precision in ("fp16", "bf16"):
        flags, spoiled = ("throttled", "power_capped"), 34
    elif m == 8192 and n == 8192:
        flags = ("power_capped",)
    if m == 1024 and precision in ("fp16", "bf16"):
        flags, noise = ("launch_bound",), 0.03
    if benchmark == "misaligned" and m == 1023 and precision == "fp16":
        flags = ("tensor_cores_not_used",)
        rate *= 0.3
    wrong = benchmark == "deepbench" and m == 2560 and n == 128 and precision == "bf16"
    return measured(rng, case, A100, rate, 120, noise, spoiled, flags, wrong)


def large_run(count: int, n_samples: int = 80) -> tuple[Run, list[Record]]:
    rng = random.Random(3)
    records: list[Record] = []
    precisions = ("fp32", "tf32", "fp16", "bf16")
    while len(records) < count:
        index = len(records) // 4
        benchmark = f"sweep-{index % 10}"
        m, n, k = 256 + 8 * index, 512 * (1 + index % 7), 1024 + 64 * (index % 13)
        base = key_of(len(records) + 1)
        for precision in precisions:
            case = gemm(key_of(len(records) + 1), benchmark, precision, m, n, k, base)
            roof = min(PEAKS[precision], BANDWIDTH * case.work.intensity)
            rate = roof * (0.5 + 0.4 * rng.random())
            records.append(measured(rng, case, A100, rate, n_samples))
    return head(f"20260203-101200-n{count}", GPU_ENV, planned=count), records[:count]
