import pytest

from gpubench.analysis.flags import FLAGS
from gpubench.analysis.results import results
from gpubench.analysis.verdicts import verdict
from gpubench.record import Accuracy, Failure, Skip, TensorCoreUse

GPU_ENV = {"gpu.name": "G", "gpu.driver": "580", "torch.version": "2.13", "torch.cuda": "13.0",
           "gpu.power_limit_w": 400.0, "gpu.clock_locked": True}  # fmt: skip


def judge(build, *records, **run):
    head = build.run(**run)
    return verdict(head, results(head, records))


def codes(judged):
    return {f.code: f for f in judged.findings}


def test_a_clean_gpu_run_is_trusted_and_says_what_was_looked_at(build):
    cores = TensorCoreUse("used")
    record = build.measured(device=build.gpu, cores=cores, precision="fp16")
    judged = judge(build, record, env=GPU_ENV)
    assert judged.level == "trusted"
    assert judged.scope is None
    assert {f.severity for f in judged.findings} == {"good"}
    assert {"correct", "not_throttled", "intervals_met", "clocks_locked", "tensor_cores_used"} == (
        set(codes(judged))
    )


def test_a_clean_cpu_run_is_trusted_as_a_cpu_run_only(build):
    judged = judge(build, build.measured())
    assert judged.level == "trusted"
    assert judged.headline == "These CPU results can be trusted"
    assert "nothing about a GPU" in judged.scope
    assert "not_throttled" not in codes(judged)


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_becomes_a_finding_with_its_cases_and_a_mend(build, flag):
    found = codes(judge(build, build.measured("a", flags=(flag,)), build.measured("b")))
    assert found[flag].cases == ("a",)
    assert found[flag].severity == FLAGS[flag].severity
    assert found[flag].text.startswith("1 case ")
    assert found[flag].mend


@pytest.mark.parametrize(
    ("flag", "level"),
    [("wrong_result", "not_trusted"), ("above_peak", "not_trusted"), ("throttled", "caveats"),
     ("noisy", "caveats"), ("power_capped", "trusted"), ("hot_cache", "trusted"),
     ("from_the_future", "trusted")],
)  # fmt: skip
def test_level_follows_the_worst_finding(build, flag, level):
    assert judge(build, build.measured("a", flags=(flag,)), build.measured("b")).level == level


def test_a_wrong_result_is_bad_even_without_the_flag(build):
    wrong = build.measured("a", accuracy=Accuracy(1.0, 1e-6, "FP64"))
    judged = judge(build, wrong, build.measured("b"))
    assert judged.level == "not_trusted"
    assert judged.headline.startswith("Do not rely on 1 case;")
    assert "correct" not in codes(judged)
    assert judge(build, wrong).headline == "Do not rely on these results as they stand"


def test_failures_are_counted_by_kind_with_their_mends(build):
    found = codes(
        judge(
            build,
            build.measured("a"),
            build.record(Failure("out_of_memory", "6 GiB"), "b"),
            build.record(Failure("timeout", "120 s"), "c"),
            build.record(Failure("timeout", "120 s"), "d"),
        )
    )["failed"]
    assert found.cases == ("b", "c", "d")
    assert "1 out of memory, 2 timed out" in found.text
    assert "--timeout" in found.mend


@pytest.mark.parametrize(
    ("run", "code", "words"),
    [
        ({"status": "interrupted", "planned": 5}, "interrupted", "4 of 5 planned"),
        ({"status": "finished", "planned": 5}, "interrupted", "4 of 5 planned"),
        ({"status": "running", "planned": 5}, "running", "4 of 5"),
        ({"settings": {"quick": True}}, "quick", "Quick"),
        ({"env": {"git.dirty": True}}, "git_dirty", "uncommitted"),
        ({"env": {"cpu.governor": "powersave"}}, "governor", "powersave"),
        ({"env": {"cpu.load_1m": 3.5, "cpu.cores": 4}}, "host_busy", "3.5 on 4 cores"),
        ({"env": {"switch.NVIDIA_TF32_OVERRIDE": "1"}}, "tf32_override", "NVIDIA_TF32_OVERRIDE"),
    ],
)
def test_findings_about_the_run_itself(build, run, code, words):
    found = codes(judge(build, build.measured(), **run))
    assert words in found[code].text


@pytest.mark.parametrize("env", [
    {"switch.NVIDIA_TF32_OVERRIDE": "0"}, {"switch.NVIDIA_TF32_OVERRIDE": None},
    {"cpu.governor": "performance"}, {"cpu.load_1m": 0.3, "cpu.cores": 4}, {"git.dirty": False},
    {"cpu.load_1m": "high"},
])  # fmt: skip
def test_what_is_in_order_raises_nothing(build, env):
    assert {f.severity for f in judge(build, build.measured(), env=env).findings} == {"good"}


def test_quick_mode_is_said_once(build):
    found = codes(judge(build, build.measured(flags=("quick",)), settings={"quick": True}))
    assert found["quick"].cases == ()


def test_resume_is_offered_by_id(build):
    found = codes(judge(build, build.measured(), status="interrupted", id="run-9"))
    assert "--resume run-9" in found["interrupted"].mend


def test_gpu_runs_without_identity_or_readings_say_so(build):
    found = codes(judge(build, build.measured(device=build.gpu, readings=())))
    assert found["unidentified"].severity == "warn"
    assert "gpu.driver" in found["unidentified"].text
    assert "no_readings" in found
    assert "not_throttled" not in found


def test_unlocked_clocks_are_a_note_and_unknown_ones_nothing(build):
    unlocked = judge(build, build.measured(device=build.gpu),
                     env=GPU_ENV | {"gpu.clock_locked": False})  # fmt: skip
    assert codes(unlocked)["clocks_unlocked"].severity == "info"
    unknown = judge(
        build, build.measured(device=build.gpu), env=GPU_ENV | {"gpu.clock_locked": None}
    )
    assert not {"clocks_unlocked", "clocks_locked"} & set(codes(unknown))


def test_wide_intervals_are_found_without_a_flag(build):
    wide = build.measured(times=[1.0 + 0.02 * i for i in range(20)])
    found = codes(judge(build, wide))
    assert found["wide_interval"].severity == "warn"
    assert "intervals_met" not in found
    told = build.measured(times=[1.0 + 0.02 * i for i in range(20)], flags=("noisy",))
    assert "wide_interval" not in codes(judge(build, told))


def test_one_sample_is_no_interval(build):
    found = codes(judge(build, build.measured(times=(1.0,))))
    assert "intervals_met" not in found
    assert "wide_interval" in found


def test_mostly_spoiled_samples_take_trust_away(build):
    spoiled = dict.fromkeys(range(11), "thermal")
    assert "mostly_spoiled" in codes(judge(build, build.measured(spoiled=spoiled)))
    fewer = dict.fromkeys(range(10), "thermal")
    assert "mostly_spoiled" not in codes(judge(build, build.measured(spoiled=fewer)))


def test_unchecked_results_are_a_caveat(build):
    assert codes(judge(build, build.measured(accuracy=False)))["unchecked"].severity == "warn"


def test_nothing_measured_is_its_own_verdict(build):
    judged = judge(build, build.record(Skip("no GPU")))
    assert judged.level == "nothing"
    assert "nothing_measured" in codes(judged)
    assert judge(build).level == "nothing"


def test_two_devices_in_one_run_are_a_caveat(build):
    judged = judge(build, build.measured("a"), build.measured("b", device=build.gpu), env=GPU_ENV)
    assert "devices" in codes(judged)


def test_findings_come_worst_first(build):
    judged = judge(build, build.measured("a", flags=("power_capped", "wrong_result", "noisy")))
    severities = [f.severity for f in judged.findings]
    assert severities == sorted(severities, key=["bad", "warn", "info", "good"].index)


def test_the_load_average_gives_way_to_what_was_measured(build):
    from dataclasses import replace

    from gpubench.record import Reading

    env = {"cpu.load_1m": 9.0, "cpu.cores": 4}
    alone = build.measured()
    assert "busy_host" in codes(judge(build, alone, env=env)) or any(
        "busy" in f.text for f in judge(build, alone, env=env).findings
    )
    reading = Reading(0.1, {"foreign_cpus": 0.01})
    watched = replace(alone, outcome=replace(alone.outcome, readings=(reading,)))
    assert not any("busy" in f.text for f in judge(build, watched, env=env).findings)
