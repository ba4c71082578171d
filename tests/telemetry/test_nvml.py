"""The real binding against a stub of the driver's library, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("nvml_stub.c")


def compiled(folder: Path, *flags: str) -> Path:
    """A folder with the stub as the driver's library."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the NVML stub")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", *flags, "-Wl,-soname,libnvidia-ml.so.1", "-o", library,
         SOURCE],
        check=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("nvml"))


def ask(stub: Path, code: str, **environment: str) -> Any:
    """Run ``code`` with the stub as the driver; it leaves its answer in ``answer``."""
    script = (
        "import json\nfrom gpubench.telemetry.nvml import Nvml, NvmlUnavailable, gpu_uuids\n"
        f"{code}\nprint(json.dumps(answer))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "LD_LIBRARY_PATH": str(stub), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


READ = """
with Nvml(uuid="GPU-stub-0000") as nvml:
    r = nvml.read()
    answer = None if r is None else {**r.values, "reasons": list(r.reasons)}
"""
FACTS = 'with Nvml(uuid="GPU-stub-0000") as nvml: answer = dict(nvml.facts())'


def test_sensors_in_si_units(stub: Path) -> None:
    assert ask(stub, READ) == {
        "clock_hz": 1410e6, "memory_clock_hz": 1215e6, "power_w": 55.0, "power_average_w": 61.0,
        "energy_counter_j": 0.0, "utilisation": 0.0, "temperature_c": 41.0,
        "memory_used_bytes": 20 * 2**30, "foreign_processes": 0.0, "reasons": ["gpu_idle"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "gaps"),
    [
        ({"STUB_GPU": "h100"}, {}),
        ({"STUB_GPU": "v100"}, {}),
        ({"STUB_GPU": "p100"}, {"energy_counter_j": "no energy counter (it came with Volta)"}),
        ({"STUB_MIG": "1"}, {"utilisation": "with MIG on"}),
        ({"STUB_NO_RIGHTS": "1"}, {"foreign_processes": "may not read it"}),
        ({"STUB_LOST_AT": "0"}, {"power_w": "fallen off the bus", "clock_hz": "off the bus"}),
    ],
)
def test_a_sensor_that_is_absent_says_why(
    stub: Path, environment: dict[str, str], gaps: dict[str, str]
) -> None:
    code = 'with Nvml(uuid="GPU-stub-0000") as nvml: answer = dict(nvml.gaps())'
    found = ask(stub, code, **environment)
    for name, why in gaps.items():
        assert why in found[f"sensor.{name}"]
    if len(gaps) < 2:
        others = set(found) - {"sensor.tensor_activity"}
        assert others == {f"sensor.{name}" for name in gaps}
    told = environment.get("STUB_GPU") == "h100"
    assert ("sensor.tensor_activity" in found) is not told


def test_processes_beside_the_worker_are_foreign(stub: Path) -> None:
    code = """
import os
answer = []
for pid in (4242, 1):
    with Nvml(uuid="GPU-stub-0000", worker_pid=pid) as nvml:
        answer.append(nvml.read().values["foreign_processes"])
"""
    assert ask(stub, code, STUB_PIDS="2") == [1.0, 1.0]
    assert ask(stub, code, STUB_PIDS="1") == [0.0, 0.0]
    assert ask(stub, code) == [0.0, 0.0]


def test_old_chips_fall_back_to_the_average_power(stub: Path) -> None:
    assert ask(stub, READ, STUB_GPU="p100")["power_w"] == 61.0


def test_throttle_reasons_by_their_old_name(stub: Path) -> None:
    """The stub has no EventReasons call, as drivers before 535 have not."""
    assert ask(stub, READ, STUB_GPU="t4")["reasons"] == ["sw_power_cap", "sw_thermal"]


def test_facts(stub: Path) -> None:
    facts = ask(stub, FACTS)
    assert facts["gpu.name"] == "NVIDIA A100-SXM4-40GB"
    assert facts["gpu.power_limit_w"] == 400.0
    assert facts["gpu.memory_bytes"] == 40 * 2**30
    assert facts["gpu.ecc"] is True
    assert facts["gpu.mig"] is False
    assert facts["gpu.clock_locked"] is False
    assert facts["gpu.pci_id"] == "00000000:65:00.0"
    assert facts["cuda.driver_version"] == "13.0"
    assert facts["gpu.driver"] == "580.65.06"


def test_what_a_chip_does_not_have_is_none(stub: Path) -> None:
    facts = ask(stub, FACTS, STUB_GPU="p100")
    assert facts["gpu.mig"] is None
    assert facts["gpu.ecc"] is None
    assert facts["gpu.persistence"] is False


def test_a_gpu_that_falls_off_the_bus_reads_as_nothing(stub: Path) -> None:
    assert ask(stub, READ, STUB_LOST_AT="0") is None
    facts = ask(stub, FACTS, STUB_LOST_AT="0")
    assert facts["gpu.temperature_c"] is None
    assert facts["gpu.name"]


def test_matching_by_uuid_and_pci_never_by_position(stub: Path) -> None:
    code = """
answer = []
for how in ({"uuid": "GPU-stub-0000"}, {"uuid": "stub-0000"}, {"pci_bus_id": "0000:65:00.0"},
            {"uuid": "GPU-other"}, {"pci_bus_id": "0000:00:00.0"}):
    try:
        Nvml(**how).close()
        answer.append("found")
    except NvmlUnavailable as error:
        answer.append(str(error))
"""
    found = ask(stub, code)
    assert found[:3] == ["found"] * 3
    assert all("does not know GPU" in text for text in found[3:])


def test_no_driver_is_one_error(stub: Path) -> None:
    code = """
try:
    Nvml()
except NvmlUnavailable as error:
    answer = str(error)
"""
    assert "cannot be used" in ask(stub, code, STUB_NO_DRIVER="1")


def test_processes_and_utilisation(stub: Path) -> None:
    code = "with Nvml() as n: answer = [n.processes(), n.utilisation()]"
    assert ask(stub, code) == [[], 0.0]
    assert ask(stub, code, STUB_PIDS="2") == [[[4242, 2**30], [4243, 2**30]], 0.97]
    assert ask(stub, code, STUB_MIG="1")[1] is None


def test_locked_clocks_are_restored_even_after_an_error(stub: Path, tmp_path: Path) -> None:
    code = """
with Nvml() as nvml:
    try:
        with nvml.locked_clocks(1.095e9):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        answer = "interrupted"
"""
    log = tmp_path / "log"
    assert ask(stub, code, STUB_LOG=str(log)) == "interrupted"
    assert log.read_text() == "lock 1095\nreset 0\n"


def test_locking_without_the_right_is_an_error_with_the_reason(stub: Path) -> None:
    code = """
try:
    with Nvml() as nvml, nvml.locked_clocks(1e9):
        answer = "locked"
except NvmlUnavailable as error:
    answer = str(error)
"""
    assert "needs root" in ask(stub, code)


def doctor(stub: Path, **environment: str) -> dict[str, dict[str, str]]:
    done = subprocess.run(
        [sys.executable, "-m", "gpubench", "doctor", "--format", "json"], text=True,
        capture_output=True, check=True, timeout=60,
        env={**os.environ, "LD_LIBRARY_PATH": str(stub), **environment},
    )  # fmt: skip
    return {f["check"]: f for f in json.loads(done.stdout)}


def test_doctor_on_a_healthy_gpu(stub: Path) -> None:
    found = doctor(stub)
    assert found["driver"]["status"] == "ok"
    assert "580.65.06" in found["driver"]["text"]
    assert found["thermal state"]["status"] == "ok"
    assert found["other processes"]["status"] == "ok"
    assert "boost" in found["clocks"]["text"]


def test_doctor_sees_throttling_and_company(stub: Path) -> None:
    found = doctor(stub, STUB_GPU="t4", STUB_PIDS="1")
    assert found["thermal state"]["status"] == "bad"
    assert "sw_thermal" in found["thermal state"]["text"]
    assert found["other processes"]["status"] == "warn"
    assert "4242" in found["other processes"]["text"]


def test_doctor_sees_mig_and_a_lost_gpu(stub: Path) -> None:
    assert doctor(stub, STUB_MIG="1")["MIG"]["status"] == "warn"
    lost = doctor(stub, STUB_LOST_AT="0")
    assert lost["NVML rights"]["status"] == "warn"
    assert "power_w" in lost["NVML rights"]["text"]


def test_doctor_on_a_p100(stub: Path) -> None:
    assert doctor(stub, STUB_GPU="p100")["persistence"]["status"] == "info"


ENERGY = """
import mmap, os, struct, threading, time
from gpubench.engine.energy import measure_energy
from gpubench.engine.profiling import HostClock
from gpubench.telemetry.watch import Poller

board = mmap.mmap(os.open(os.environ["STUB_LOAD"], os.O_RDWR), 192)

levels = [0.0] * 24
def state(*now):
    levels[:] = [*now, *levels[:21]]
    board[:] = struct.pack("24d", *levels)

spent = 0.0
def call():
    global spent
    start = time.clock_gettime(time.CLOCK_MONOTONIC)
    state(1.0, spent, start)
    time.sleep(0.03)
    end = time.clock_gettime(time.CLOCK_MONOTONIC)
    spent += end - start
    state(0.0, spent, end)

state(0.0, 0.0, 0.0)
work_s = float(os.environ["WORK_S"])
with Nvml(uuid="GPU-stub-0000") as nvml:
    found = measure_energy(call, lambda: None, nvml, HostClock(), call_s=0.03, work_s=work_s,
                           poll=lambda look: Poller(look, 0.002))
answer = {"joules": found.energy.joules, "reason": found.energy.reason,
          "method": found.energy.method, "idle_w": found.idle_w,
          "true_j": 400 * spent / max(found.calls, 1), "disagreement": found.disagreement}
"""


def energy(stub: Path, tmp_path: Path, **environment: str) -> Any:
    board = tmp_path / "load"
    board.write_bytes(bytes(192))
    return ask(stub, ENERGY, STUB_LOAD=str(board), **{"WORK_S": "3", **environment})


@pytest.mark.parametrize("period", ["0.02", "0.1"])
def test_energy_of_a_repeated_call_is_the_boards(stub: Path, tmp_path: Path, period: str) -> None:
    found = energy(stub, tmp_path, STUB_PERIOD=period)
    assert found["method"] == "counter between edges, repeated"
    assert found["joules"] == pytest.approx(found["true_j"], rel=0.02)
    assert found["idle_w"] == pytest.approx(60, rel=0.02)


def test_energy_without_a_counter_is_integrated(stub: Path, tmp_path: Path) -> None:
    found = energy(stub, tmp_path, STUB_GPU="p100", STUB_PERIOD="0.02")
    assert found["method"] == "integrated power"
    assert found["joules"] == pytest.approx(found["true_j"], rel=0.03)


def test_a_single_call_of_30_ms_has_no_energy(stub: Path, tmp_path: Path) -> None:
    found = energy(stub, tmp_path, WORK_S="0.03", STUB_PERIOD="0.1")
    assert found["joules"] is None
    assert "shorter than 10 update periods" in found["reason"]


def test_a_card_that_falls_off_the_bus_has_no_energy(stub: Path, tmp_path: Path) -> None:
    found = energy(stub, tmp_path, STUB_LOST_AT="1500")
    assert found["joules"] is None
    assert found["reason"]


@pytest.mark.parametrize("gpu", ["a100", "v100"])
def test_energy_is_the_same_on_volta(stub: Path, tmp_path: Path, gpu: str) -> None:
    found = energy(stub, tmp_path, STUB_GPU=gpu, STUB_PERIOD="0.05")
    assert found["joules"] == pytest.approx(found["true_j"], rel=0.02)


def test_a_sensor_of_a_quarter_duty_does_not_mislead_the_counter(
    stub: Path, tmp_path: Path
) -> None:
    found = energy(stub, tmp_path, STUB_PERIOD="0.1", STUB_DUTY="0.25", WORK_S="6")
    assert found["method"] == "counter between edges, repeated"
    assert found["joules"] == pytest.approx(found["true_j"], rel=0.02)


@pytest.mark.slow
def test_a_sensor_of_a_quarter_duty_alone(stub: Path, tmp_path: Path) -> None:
    found = energy(
        stub, tmp_path, STUB_GPU="p100", STUB_PERIOD="0.04", STUB_DUTY="0.25", WORK_S="12"
    )
    assert found["method"] == "integrated power"
    assert found["joules"] == pytest.approx(found["true_j"], rel=0.08)


RANGES = """
import mmap, os, struct, time
from gpubench.engine.profiling import EDGE_POLL_S, HostClock
from gpubench.engine.range_energy import measure_ranges
from gpubench.telemetry.watch import Poller

board = mmap.mmap(os.open(os.environ["STUB_LOAD"], os.O_RDWR), 192)
full, levels = 0.0, [0.0] * 24
PARTS = ((1.0, 0.03), (0.4, 0.05))  # level of the board, seconds

def call():
    # Queued at once, as kernels are: the board keeps to its times, however late the host wakes.
    global full
    start = at = time.monotonic()
    for level, seconds in PARTS:
        levels[:] = [level, full, at, *levels[:21]]
        full, at = full + level * seconds, at + seconds
    levels[:] = [0.0, full, at, *levels[:21]]
    board[:] = struct.pack("24d", *levels)
    time.sleep(at - start - 0.001)
    while time.monotonic() < at:
        pass

with Nvml(uuid="GPU-stub-0000") as nvml:
    share = PARTS[0][1] / sum(seconds for _, seconds in PARTS)  # as a traced pass would tell
    found = measure_ranges(
        call, lambda: None, nvml, HostClock(), [(0.0, share), (share, 1.0)], idle_w=60.0,
        update_s=float(os.environ["STUB_PERIOD"]), work_s=float(os.environ["WORK_S"]),
        poll=lambda look: Poller(look, EDGE_POLL_S))
answer = [[f.joules, f.reason, (60.0 + 340.0 * level) * seconds]
          for f, (level, seconds) in zip(found, PARTS)]
"""


def test_a_repeated_range_of_30_ms_has_the_boards_energy(stub: Path, tmp_path: Path) -> None:
    board = tmp_path / "load"
    board.write_bytes(bytes(192))
    found = ask(stub, RANGES, STUB_LOAD=str(board), STUB_PERIOD="0.02", WORK_S="6")
    for joules, reason, true_j in found:
        assert reason is None
        assert joules == pytest.approx(true_j, rel=0.02)


def test_a_single_range_of_30_ms_has_none(stub: Path, tmp_path: Path) -> None:
    board = tmp_path / "load"
    board.write_bytes(bytes(192))
    for joules, reason, _ in ask(stub, RANGES, STUB_LOAD=str(board), STUB_PERIOD="0.1",
                                 WORK_S="0.05"):  # fmt: skip
        assert joules is None
        assert "too few" in reason


def test_what_a_fleet_asks_of_memory_and_link(stub: Path) -> None:
    facts = ask(stub, FACTS)
    assert facts["gpu.ecc_uncorrected"] == 12
    assert facts["gpu.remapped_rows"] == 5
    assert facts["gpu.remap_failed"] is False
    assert (facts["gpu.pcie_width"], facts["gpu.pcie_width_max"]) == (16, 16)
    worn = ask(stub, FACTS, STUB_REMAP_FAILED="1", STUB_PCIE="4")
    assert worn["gpu.remap_failed"] is True
    assert (worn["gpu.pcie_width"], worn["gpu.pcie_width_max"]) == (4, 16)
    # Rows are remapped since Ampere.
    assert ask(stub, FACTS, STUB_GPU="v100")["gpu.remapped_rows"] is None
    old = ask(stub, FACTS, STUB_GPU="p100")
    assert (old["gpu.ecc_uncorrected"], old["gpu.remap_failed"]) == (None, None)


GPM = """
import time
with Nvml(uuid="GPU-stub-0000") as nvml:
    first = nvml.read().values.get("tensor_activity")
    time.sleep(0.12)
    answer = [first, nvml.read().values.get("tensor_activity"),
              nvml.gaps().get("sensor.tensor_activity")]
"""


def test_hopper_tells_how_busy_its_tensor_pipes_are(stub: Path) -> None:
    assert ask(stub, GPM, STUB_GPU="h100", STUB_TENSOR="63.5") == [None, 0.635, None]
    first, second, why = ask(stub, GPM, STUB_TENSOR="63.5")
    assert (first, second) == (None, None)
    assert "came with Hopper" in why


def test_a_driver_without_gpm_is_no_error(tmp_path: Path) -> None:
    older = compiled(tmp_path, "-DSTUB_WITHOUT_GPM")
    first, second, why = ask(older, GPM, STUB_GPU="h100")
    assert (first, second) == (None, None)
    assert "Function Not Found" in why or "not found" in why.lower()
