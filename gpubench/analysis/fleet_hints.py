"""What else differs about an odd device: clocks, heat, power, lanes, memory errors, drivers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Final

from gpubench.record import Fact
from gpubench.units import percent, scaled

if TYPE_CHECKING:
    from gpubench.analysis.fleet import Member
    from gpubench.store.points import Point

COMPARED: Final = {
    "gpu.power_limit_w": "power limit (W)", "gpu.pcie_width": "PCIe lanes",
    "gpu.pcie_generation": "PCIe generation", "gpu.ecc": "ECC", "gpu.mig": "MIG",
    "gpu.driver": "driver", "gpu.vbios": "VBIOS", "gpu.persistence": "persistence mode",
    "gpu.clock_locked": "application clocks", "gpu.clock_sm_max_hz": "highest SM clock (Hz)",
    "gpu.memory_bytes": "memory (B)", "cpu.governor": "CPU governor", "cpu.model": "CPU",
    "cpu.threads_used": "threads", "host.kernel": "kernel", "torch.version": "torch",
    "cudnn.version": "cuDNN", "cublas.version": "cuBLAS",
}  # fmt: skip
"""Facts that should be equal over a fleet, with their names for people."""

AGREE: Final = 0.6
"""Share of the peers that must agree on a fact before another value says something."""

CLOCK: Final = 0.98
"""Of the peers' clock, below which a clock is told."""

WARMER_C: Final = 8.0
"""Above the peers' temperature, from which heat is told."""

NOTHING: Final = "nothing that was recorded differs: measure it again alone, then run dcgmi diag"


def hints(member: Member, peers: Sequence[Member], bad: set[str]) -> tuple[str, ...]:
    """What was recorded of a device and differs from its peers, the likeliest cause first.

    Args:
        member: the odd device.
        peers: every device of its model, itself included.
        bad: identities of the odd devices that are slow or fail.
    """
    others = [p for p in peers if p.device != member.device]
    found = [*_clock(member, others), *_sensors(member, others), *_memory(member),
             *_lanes(member), *_facts(member, others)]  # fmt: skip
    return (*(found or [NOTHING]), *_neighbours(member, peers, bad))


def _clock(member: Member, others: Sequence[Member]) -> list[str]:
    own, rest = _ratios(member, others, lambda p: p.clock_hz)
    if not own:
        return []
    clock, typical = median(own), median(rest)
    found = []
    if clock < CLOCK:
        time, _ = _ratios(member, others, lambda p: p.median_s)
        same = time and abs(median(time) * clock - 1) < 0.01
        why = "; as many cycles as its peers, so the clock explains it" if same else ""
        ghz = scaled(clock * typical, "Hz")
        found.append(f"SM clock {percent(1 - clock)} below its peers ({ghz}){why}")
    throttled = sum("throttled" in p.flags for p in member.points.values())
    if throttled:
        found.append(f"throttled in {throttled} of {len(member.points)} cases")
    return found


def _ratios(
    member: Member, others: Sequence[Member], sensor: Callable[[Point], float | None]
) -> tuple[list[float], list[float]]:
    """(ratio to the peers' median of each case, those medians) where both are known."""
    ratios, middles = [], []
    for key, point in member.points.items():
        own = sensor(point)
        rest = [v for o in others if key in o.points and (v := sensor(o.points[key])) is not None]
        if own is not None and rest:
            middles.append(median(rest))
            ratios.append(own / middles[-1])
    return ratios, middles


def _sensors(member: Member, others: Sequence[Member]) -> list[str]:
    def over(m: Member, name: str) -> float | None:
        values = [v for p in m.points.values() if (v := getattr(p, name)) is not None]
        return median(values) if values else None

    found = []
    own = over(member, "temperature_c")
    rest = [v for o in others if (v := over(o, "temperature_c")) is not None]
    if own is not None and rest and own - median(rest) >= WARMER_C:
        found.append(f"{own:.0f} °C, its peers {median(rest):.0f} °C")
    power = over(member, "power_w")
    rest = [v for o in others if (v := over(o, "power_w")) is not None]
    if power is not None and rest and abs(power / median(rest) - 1) >= 0.1:
        found.append(f"draws {power:.0f} W, its peers {median(rest):.0f} W")
    return found


def _memory(member: Member) -> list[str]:
    env = member.environment
    found = []
    errors = env.get("gpu.ecc_uncorrected")
    if isinstance(errors, int) and errors > 0:
        found.append(f"{errors} uncorrected ECC error{'s' if errors != 1 else ''} in its life")
    if env.get("gpu.remap_failed"):
        found.append("a memory row could not be remapped: replace the GPU")
    rows = env.get("gpu.remapped_rows")
    if isinstance(rows, int) and rows > 0:
        found.append(f"{rows} memory row{'s' if rows != 1 else ''} remapped")
    return found


def _lanes(member: Member) -> list[str]:
    width = member.environment.get("gpu.pcie_width")
    most = member.environment.get("gpu.pcie_width_max")
    if isinstance(width, int) and isinstance(most, int) and width < most:
        return [f"PCIe x{width} where x{most} is possible: reseat it"]
    return []


def _facts(member: Member, others: Sequence[Member]) -> list[str]:
    found = []
    for fact, title in COMPARED.items():
        own = member.environment.get(fact)
        values: Counter[Fact] = Counter(o.environment.get(fact) for o in others)
        values.pop(None, None)
        if own is None or not values:
            continue
        usual, count = values.most_common(1)[0]
        if own != usual and count >= AGREE * sum(values.values()):
            found.append(f"{title} {_shown(own)}, its peers {_shown(usual)}")
    return found


def _shown(value: Fact) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _neighbours(member: Member, peers: Sequence[Member], bad: set[str]) -> list[str]:
    found = []
    for place, name in (("host", member.host), ("rack", member.rack)):
        near = [p for p in peers if name and getattr(p, place) == name]
        odd = sum(p.device in bad for p in near)
        if odd > 1:
            found.append(f"{odd} of the {len(near)} devices in {place} {name} are odd")
    return found
