"""What each flag on a measurement means, in words for the reader of a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class FlagInfo:
    """One flag.

    Attributes:
        title: two or three words, as shown in a table.
        severity: ``info``, ``warn`` or ``bad``: what it does to trust in the number.
        many: the finding about cases that carry it; ``{cases}`` is ``1 case`` or
            ``N cases``.
        meaning: one sentence for the details of a case.
        mend: what to do about it.
    """

    title: str
    severity: str
    many: str
    meaning: str
    mend: str


FLAGS: Final[dict[str, FlagInfo]] = {
    "wrong_result": FlagInfo(
        "wrong result",
        "bad",
        "{cases} computed a wrong result: the error against FP64 is beyond the tolerance.",
        "The output differs from the FP64 reference by more than this precision explains.",
        "Do not quote these numbers. Check driver, library versions and ECC errors"
        " (`nvidia-smi -q -d ECC`).",
    ),
    "above_peak": FlagInfo(
        "above peak",
        "bad",
        "{cases} ran faster than the peak rate: the data stayed in cache, or the peak is wrong.",
        "Faster than the peak it is compared with: cache-resident data, or a wrong peak.",
        "Measure with `cache: cold` and larger sizes, and check the peak's source.",
    ),
    "not_true_fp32": FlagInfo(
        "not true FP32",
        "bad",
        "{cases} called fp32 ran on Tensor Cores, so the results are not true FP32.",
        "Tensor Core kernels ran in a case that should be true FP32 on CUDA cores.",
        "Check the precision switches below, `NVIDIA_TF32_OVERRIDE` first.",
    ),
    "functional_only": FlagInfo(
        "functional only",
        "warn",
        "{cases} ran between CPU ranks over Gloo: that they work, not how fast.",
        "Ranks of one host share its cores and talk through memory: no figure for any network.",
        "Run it on GPUs: `--nproc N`, torchrun or srun.",
    ),
    "below_floor": FlagInfo(
        "below clock floor",
        "warn",
        "{cases} took less time than the clock can resolve well.",
        "The time is close to the smallest this method can resolve.",
        "Use larger sizes, or let the graph method time many calls together.",
    ),
    "throttled": FlagInfo(
        "throttled",
        "warn",
        "{cases} ran while the device slowed itself down (heat or a hardware limit).",
        "The driver reported a slowdown while samples were taken; those are marked spoiled.",
        "Improve cooling or lower the power limit, wait, and measure again.",
    ),
    "contended": FlagInfo(
        "contended",
        "warn",
        "{cases} shared the device with another process.",
        "Another process used the device during the measurement.",
        "Stop the other processes (`gpubench doctor` lists them) and measure again.",
    ),
    "launch_bound": FlagInfo(
        "launch-bound",
        "warn",
        "{cases} took no longer on the device than the host needs to submit the work.",
        "The host needs as long to submit a call as the device to run it, so the time says"
        " as much about the host.",
        "Read these as latency, not throughput; larger sizes or CUDA graphs show the device.",
    ),
    "tensor_cores_not_used": FlagInfo(
        "no Tensor Cores",
        "warn",
        "{cases} did not use the Tensor Cores although the precision has them.",
        "The kernels that ran are not Tensor Core kernels, or the rate rules them out.",
        "Check alignment (multiples of 8 or 16) and the precision switches below.",
    ),
    "few_samples": FlagInfo(
        "few samples",
        "warn",
        "{cases} ended with too few samples for a 95 % interval.",
        "Fewer than six samples cannot give a 95 % interval of the median.",
        "Raise `max_time_s` for these cases.",
    ),
    "drifting": FlagInfo(
        "drifting",
        "warn",
        "{cases} changed their level while they were measured: the interval is too narrow.",
        "The median of the last third of the samples differs from that of the first third.",
        "Look at the samples in the order taken; end what else runs, warm up longer"
        " (`warmup_s`), or lock the clocks.",
    ),
    "noisy": FlagInfo(
        "noisy",
        "warn",
        "{cases} varied more than the policy allows.",
        "The samples vary so much that the target interval was not reached.",
        "Quiet the machine (other processes, governor, clocks) or raise `max_time_s`.",
    ),
    "budget": FlagInfo(
        "budget ended",
        "info",
        "{cases} stopped at the time budget before reaching the target interval.",
        "The time budget ended before the target interval was reached.",
        "Raise `max_time_s` where a narrower interval matters.",
    ),
    "quick": FlagInfo(
        "quick",
        "warn",
        "{cases} ran in quick mode, shorter than the suite asks for.",
        "Measured with `--quick`, shorter than the suite asks for.",
        "Run without `--quick` before quoting a number.",
    ),
    "hot_cache": FlagInfo(
        "hot cache",
        "info",
        "{cases} ran with inputs already in cache.",
        "The inputs stayed in cache between calls, so the rate is not that of memory.",
        "Use `cache: cold` or `rotating` for rates that memory sets.",
    ),
    "power_capped": FlagInfo(
        "power cap",
        "info",
        "{cases} ran at the power limit, which is normal for large matrix products.",
        "The power limit held the clock down: normal for a large matrix product.",
        "Compare only with runs at the same power limit.",
    ),
}
"""In order of how much they matter."""

TRUST: Final = frozenset({"throttled", "contended", "launch_bound", "hot_cache", "noisy"})
"""Flags that stand beside a number wherever it is, as those that are ``bad`` do."""


def beside_number(flags: Iterable[str]) -> list[str]:
    """Titles of the flags that a number is never shown without."""
    return [flag_info(f).title for f in flags if f in TRUST or flag_info(f).severity == "bad"]


_UNKNOWN = FlagInfo("", "info", "{cases} carry a note.", "A flag this version does not know.", "")


def flag_info(flag: str) -> FlagInfo:
    """Look up a flag, also of one that a newer version wrote."""
    known = FLAGS.get(flag)
    if known:
        return known
    title = flag.replace("_", " ")
    return FlagInfo(title, "info", f"{{cases}} carry the flag “{title}”.", _UNKNOWN.meaning, "")
