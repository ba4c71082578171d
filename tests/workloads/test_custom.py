"""The user's own code in suites: planned without importing it, run in a worker."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gpubench import suite as suites
from gpubench.devices.cpu import CpuDevice
from gpubench.errors import CaseFailed, InputError
from gpubench.plan import case_key, make_plan
from gpubench.workloads.custom import Custom, imported
from gpubench.workloads.kernel import Inputs, Kernel, relative_error
from tests.builders import A100, CPU
from tests.cli.command import write
from tests.conftest import ROOT

SUITE = """\
schema: 1
suite: mine
policy: {min_time_s: 0.005, max_time_s: 0.05, warmup_s: 0, min_samples: 3, target_rel_ci: 0.9}
benchmarks:
"""

KERNELS = """\
import ctypes
import torch


def inputs(n, device, dtype):
    return torch.randn(n, n, device=device, dtype=dtype), torch.randn(n, n, dtype=dtype)


def mm(a, b):
    return a @ b


def wrong(a, b):
    return a + b


def boom(a, b):
    raise ValueError("the kernel is unhappy")


def no_inputs(n):
    raise OSError("no inputs today")


def crash(a, b):
    ctypes.string_at(0)


not_callable = 3
"""


def custom(precision: str = "fp32", **params: Any) -> Custom:
    return Custom.from_params({"target": "my:kernel", **params}, precision)


class TestParameters:
    def test_counts_are_arithmetic_over_own_parameters(self) -> None:
        work = custom("fp16", flops="2 * n * n * k", bytes="element_bytes*n*k", n=10, k=3).work()
        assert work is not None
        assert (work.flops, work.bytes, work.footprint_bytes) == (600, 60, 60)
        assert work.formula == "2 * n * n * k"

    def test_counts_may_be_numbers_and_absent(self) -> None:
        work = custom(bytes=1e9).work()
        assert work is not None
        assert (work.flops, work.bytes) == (0, 1e9)
        assert custom(n=4).work() is None

    @pytest.mark.parametrize(
        ("params", "key", "words"),
        [
            ({"target": "my.kernel"}, "target", "package.module:callable"),
            ({"target": "my_kernels.py:norm"}, "target", "did you mean 'my_kernels:norm'"),
            ({"target": "./src/kern.py:norm"}, "target", "did you mean 'src.kern:norm'"),
            ({"target": 3}, "target", "package.module:callable"),
            ({"setup": "inputs"}, "setup", "package.module:callable"),
            ({"flops": "2*m", "n": 1}, "flops", "unknown name 'm'"),
            ({"flops": "2*rowz", "rows": 1}, "flops", "did you mean 'rows'"),
            ({"flops": "2**n", "n": 1}, "flops", "not allowed in the expression"),
            ({"flops": "__import__('os')"}, "flops", "not allowed in the expression"),
            ({"flops": "2*"}, "flops", "cannot read the expression"),
            ({"flops": "n / 0", "n": 1}, "flops", "cannot use"),
            ({"flops": "0 - n", "n": 1}, "flops", "at least 0"),
            ({"flops": "n == 1", "n": 1}, "flops", "a number"),
            ({"flops": "'a'"}, "flops", "a number"),
            ({"bytes": True}, "bytes", "a number"),
            ({"bytes": math.inf}, "bytes", "finite"),
            ({"bytes": -1}, "bytes", "at least 0"),
            ({"tolerance": "small"}, "tolerance", "a number"),
            ({"device": "cuda"}, "device", "is given by gpubench"),
            ({"block-size": 3}, "block-size", "cannot be passed by name"),
        ],
    )
    def test_bad_ones_are_refused_by_name(
        self, params: dict[str, Any], key: str, words: str
    ) -> None:
        with pytest.raises(InputError) as caught:
            custom(**params)
        assert caught.value.key == key
        assert words in str(caught.value)

    def test_a_target_is_needed(self) -> None:
        with pytest.raises(InputError, match="needs a target"):
            Custom.from_params({"n": 3}, "fp32")

    def test_the_key_is_of_the_work_not_of_what_is_said_about_it(self) -> None:
        def key(**params: Any) -> str:
            return case_key("custom", "fp32", custom(**params).identity())

        plain = key(n=4)
        assert key(n=4, flops=9, bytes="n", reference="my:ref", tolerance=0.1) == plain
        assert len({plain, key(n=5), key(n=4, setup="my:inputs"), key(n=4, target="my:k2")}) == 4
        # Histories hang on it.
        assert plain == "custom-fp32-05ff6898f3ff"

    def test_label_and_params(self) -> None:
        made = custom(target="a.b:Norm.run", n=4, eps=1e-6, flops="n")
        assert made.label() == "Norm.run n=4 eps=1e-06"
        assert made.params() == {"target": "a.b:Norm.run", "flops": "n", "n": 4, "eps": 1e-6}
        assert Custom.from_params(made.params(), "fp32") == made


class TestPlanning:
    def test_nothing_of_the_user_is_imported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "trap_module.py").write_text("raise SystemExit('imported')\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.chdir(tmp_path)
        text = (
            SUITE + "  - {name: b, workload: custom, params: {target: 'trap_module:run', n: 3}}\n"
        )
        plan = make_plan(suites.load(write(tmp_path, text)), A100)
        assert [c.params["n"] for c in plan.cases] == [3]
        assert "trap_module" not in sys.modules
        assert plan.folder == str(tmp_path)

    def test_more_than_the_device_holds_is_a_skip_with_the_bytes(self) -> None:
        text = SUITE + (
            "  - {name: b, workload: custom, params: {target: 'a:b', bytes: 'n * 1000000000'},"
            " matrix: {n: [1, 100]}}\n"
        )
        plan = make_plan(suites.parse(text), replace(CPU, memory_bytes=2 * 10**9))
        assert [c.params["n"] for c in plan.cases] == [1]
        assert "100,000,000,000 bytes" in plan.skips[0].reason

    def test_a_precision_that_is_missing_is_a_skip(self) -> None:
        text = SUITE + (
            "  - {name: b, workload: custom, params: {target: 'a:b'},"
            " matrix: {precision: [fp32, tf32]}}\n"
        )
        (skip,) = make_plan(suites.parse(text), CPU).skips
        assert "Tensor Core" in skip.reason

    def test_a_wrong_expression_has_file_line_and_key(self, tmp_path: Path) -> None:
        text = SUITE + (
            "  - name: b\n    workload: custom\n"
            "    params:\n      target: a:b\n      rows: 3\n      flops: 2*row\n"
        )
        path = write(tmp_path, text)
        with pytest.raises(InputError) as caught:
            make_plan(suites.load(path), CPU)
        error = caught.value
        assert (error.file, error.line, error.key) == (path, 10, "benchmarks[0].params.flops")
        assert error.nearest == "rows"


class TestKernel:
    def test_own_parameters_go_to_whoever_declares_them(self) -> None:
        seen: dict[str, Any] = {}

        def setup(rows: int, device: object, dtype: object, seed: int) -> tuple[Any, ...]:
            seen.update(rows=rows, device=device, dtype=dtype, seed=seed)
            return (torch.ones(rows),)

        def target(x: torch.Tensor, rows: int, block: int = 1) -> tuple[Any, ...]:
            return x, rows, block

        kernel = Kernel(target, setup, own={"rows": 3, "block": 64}, precision="fp64")
        x, rows, block = kernel.build(CpuDevice(), 7, "normal")()  # type: ignore[misc]
        assert (len(x), rows, block) == (3, 3, 64)
        assert seen == {
            "rows": 3, "device": torch.device("cpu"), "dtype": torch.float64, "seed": 7
        }  # fmt: skip

    def test_inputs_win_over_own_parameters(self) -> None:
        kernel = Kernel(lambda n, k=1: (n, k), lambda n: (n + 1,), own={"n": 3})
        assert kernel.build(CpuDevice(), 1, "normal")() == (4, 1)
        kernel = Kernel(lambda n, k=1: (n, k), lambda n: {"k": n}, own={"n": 3})
        assert kernel.build(CpuDevice(), 1, "normal")() == (3, 3)

    def test_without_setup_the_target_gets_them_all(self) -> None:
        def target(n: int, precision: str, **rest: object) -> object:
            return n, precision, rest

        kernel = Kernel(target, own={"n": 3, "m": 4})
        assert kernel.build(CpuDevice(), 1, "normal")() == (3, "fp32", {"m": 4})

    @pytest.mark.parametrize(
        ("made", "inputs"),
        [
            ((1, 2), Inputs((1, 2))),
            ({"a": 1}, Inputs((), {"a": 1})),
            (None, Inputs()),
            ([1, 2], Inputs(([1, 2],))),
            (5, Inputs((5,))),
        ],
    )
    def test_what_setup_may_return(self, made: object, inputs: Inputs) -> None:
        assert Inputs.of(made) == inputs

    def test_a_parameter_that_nobody_takes_is_an_error(self) -> None:
        kernel = Kernel(lambda x: x, lambda rows: (rows,), own={"row": 3})
        with pytest.raises(TypeError, match=r"nobody takes the parameter 'row'.*mean 'rows'"):
            kernel.build(CpuDevice(), 1, "normal")

    def test_builtins_without_a_signature_are_called_with_what_setup_made(self) -> None:
        kernel = Kernel(torch.mm, lambda n: (torch.eye(n), torch.eye(n)), own={"n": 2})
        out = kernel.build(CpuDevice(), 1, "normal")()
        assert isinstance(out, torch.Tensor)
        assert torch.equal(out, torch.eye(2))

    def test_input_sets_differ_and_repeat(self) -> None:
        kernel = Kernel(lambda x: x, lambda: torch.randn(8))
        first, again, second = (kernel.build(CpuDevice(), s, "normal")() for s in (1, 1, 2))
        assert torch.equal(first, again)  # type: ignore[arg-type]
        assert not torch.equal(first, second)  # type: ignore[arg-type]

    def test_the_footprint_counts_shared_storage_once(self) -> None:
        x = torch.zeros(100)
        inputs = Inputs((x, [x[:50], torch.zeros(5)]), {"m": torch.nn.Linear(2, 3)})
        assert inputs.footprint_bytes() == 400 + 20 + 4 * (6 + 3)

    def test_the_reference_gets_fp64_copies_made_before_the_call(self) -> None:
        def doubled(x: torch.Tensor, index: torch.Tensor, m: torch.nn.Linear) -> torch.Tensor:
            return m(x.mul_(2))[index]

        def reference(x: torch.Tensor, index: torch.Tensor, m: torch.nn.Linear) -> torch.Tensor:
            assert (x.dtype, m.weight.dtype) == (torch.float64, torch.float64)
            assert index.dtype == torch.int64
            return m(2 * x)[index]

        def setup() -> tuple[Any, ...]:
            return torch.randn(4, 3), torch.tensor([1, 2]), torch.nn.Linear(3, 5)

        accuracy = Kernel(doubled, setup, reference).check(CpuDevice(), 3, "normal")
        assert accuracy is not None
        assert accuracy.ok
        assert 0 < accuracy.rel_error < 1e-6
        assert accuracy.tolerance == 1e-5

    def test_tf32_in_place_of_fp32_would_show(self) -> None:
        def rounded(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            # TF32 keeps 10 of the 23 bits of the mantissa.
            cut = [(t.view(torch.int32) + 0x1000 & ~0x1FFF).view(torch.float32) for t in (a, b)]
            return cut[0] @ cut[1]

        def setup() -> tuple[torch.Tensor, torch.Tensor]:
            return torch.randn(64, 256), torch.randn(256, 64)

        accuracy = Kernel(rounded, setup, torch.mm).check(CpuDevice(), 3, "normal")
        assert accuracy is not None
        assert not accuracy.ok
        accuracy = Kernel(rounded, setup, torch.mm, precision="tf32").check(CpuDevice(), 3, "n")
        assert accuracy is not None
        assert accuracy.ok

    def test_errors_of_results(self) -> None:
        one = torch.ones(3)
        assert relative_error(one, one) == 0
        assert relative_error({"a": one, "b": [1.0]}, (one, 1.0)) == 0
        assert relative_error(torch.zeros(2), torch.zeros(2)) == 0
        assert relative_error(one, torch.zeros(3)) == math.inf
        assert math.isnan(relative_error(one * math.nan, one))
        assert relative_error(one + 1j, one + 0j) == pytest.approx(1)
        with pytest.raises(CaseFailed, match="returned no tensor"):
            relative_error(None, one)
        with pytest.raises(CaseFailed, match=r"shapes \[\(3,\)\], the reference \[\(2,\)\]"):
            relative_error(one, one[:2])


class TestImporting:
    def test_attributes_below_a_class(self) -> None:
        assert imported("pathlib:Path.exists") is Path.exists
        assert imported("os.path:join") is os.path.join

    @pytest.mark.parametrize(
        ("place", "kind", "words"),
        [
            ("jsn:dumps", ModuleNotFoundError, "did you mean 'json'"),
            ("json.decodr:x", ModuleNotFoundError, "did you mean 'json.decoder'"),
            ("json:dump_s", AttributeError, "did you mean 'dumps'"),
            ("math:pi", TypeError, "is a float and cannot be called"),
        ],
    )
    def test_near_misses(self, place: str, kind: type[Exception], words: str) -> None:
        with pytest.raises(kind, match=words):
            imported(place)

    def test_what_a_module_itself_lacks_keeps_its_own_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "needs_more.py").write_text("import not_installed_at_all\n")
        (tmp_path / "a_script.py").write_text("import sys\nsys.exit(0)\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ModuleNotFoundError, match=r"^No module named 'not_installed_at_all'"):
            imported("needs_more:x")
        with pytest.raises(ImportError, match="exits when it is imported"):
            imported("a_script:x")


def console(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The console script, for which the current folder is not on Python's path."""
    script = Path(sys.executable).parent / "gpubench"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [str(script), *arguments], cwd=cwd, capture_output=True, text=True, check=False,
        env=environment,
    )  # fmt: skip


class TestRunning:
    @pytest.fixture(scope="class")
    @staticmethod
    def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
        """One run from another folder than the suite's, in which nearly everything fails."""
        folder = tmp_path_factory.mktemp("suite")
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        (folder / "my_kernels.py").write_text(KERNELS)
        (elsewhere / "here.py").write_text("def add(n):\n    return n + 1\n")
        shared = "params: {setup: 'my_kernels:inputs', reference: 'my_kernels:mm', n: 16}"
        targets = ("mm", "wrong", "boom", "crash", "missing", "not_callable")
        shown = ", ".join(f"'my_kernels:{t}'" for t in targets)
        text = SUITE + (
            f"  - {{name: all, workload: custom, {shared}, matrix: {{target: [{shown}]}}}}\n"
            "  - {name: setup, workload: custom, params: {target: 'my_kernels:mm',"
            " setup: 'my_kernels:no_inputs', n: 3}}\n"
            "  - {name: here, workload: custom, params: {target: 'here:add', n: 3}}\n"
            "  - {name: gone, workload: custom, params: {target: 'my_kernel:mm', n: 3}}\n"
        )
        path = write(folder, text)
        done = console(
            "run", path, "--device", "cpu", "--json", "-", "--no-report",
            "--store", str(folder / "r.db"), cwd=elsewhere,
        )  # fmt: skip
        assert done.returncode == 3, done.stderr
        found = json.loads(done.stdout)["records"]
        return {r["case"]["params"]["target"] + r["case"]["benchmark"]: r for r in found}

    def test_the_good_ones_are_measured_and_checked(self, records: dict[str, Any]) -> None:
        good = records["my_kernels:mmall"]
        assert good["status"] == "measured"
        assert good["accuracy"]["ok"]
        assert good["accuracy"]["reference"] == "mm on the same inputs in FP64"

    def test_the_current_folder_is_looked_in_too(self, records: dict[str, Any]) -> None:
        assert records["here:addhere"]["status"] == "measured"
        assert records["here:addhere"]["accuracy"] is None

    def test_a_wrong_result_is_flagged(self, records: dict[str, Any]) -> None:
        assert "wrong_result" in records["my_kernels:wrongall"]["flags"]

    @pytest.mark.parametrize(
        ("which", "reason", "line"),
        [
            ("my_kernels:boomall", "ValueError: the kernel is unhappy", "in boom"),
            ("my_kernels:mmsetup", "OSError: no inputs today", "in no_inputs"),
            ("my_kernels:missingall", "AttributeError: 'my_kernels' has no 'missing'", "imported"),
            ("my_kernels:not_callableall", "TypeError: 'my_kernels:not_callable' is", "imported"),
            ("my_kernel:mmgone", "ModuleNotFoundError: no module 'my_kernel' in", "imported"),
        ],
    )
    def test_a_failure_has_the_users_traceback(
        self, records: dict[str, Any], which: str, reason: str, line: str
    ) -> None:
        record = records[which]
        assert (record["status"], record["failure"]["kind"]) == ("failed", "error")
        assert record["reason"].startswith(reason)
        assert line in record["failure"]["traceback"]

    def test_the_near_miss_of_a_module_is_told(self, records: dict[str, Any]) -> None:
        assert records["my_kernel:mmgone"]["reason"].endswith("did you mean 'my_kernels'?")

    def test_a_segfault_costs_its_case(self, records: dict[str, Any]) -> None:
        assert records["my_kernels:crashall"]["failure"]["kind"] == "crash"
        assert "SIGSEGV" in records["my_kernels:crashall"]["reason"]

    def test_suites_with_modules_of_one_name_do_not_mix(self, tmp_path: Path) -> None:
        paths = []
        for name, body in (("one", "pass"), ("two", "raise RuntimeError('second')")):
            folder = tmp_path / name
            folder.mkdir()
            (folder / "same_name.py").write_text(f"def run():\n    {body}\n")
            text = SUITE.replace("mine", name) + (
                "  - {name: b, workload: custom, params: {target: 'same_name:run'}}\n"
            )
            paths.append(write(folder, text))
        done = console("run", *paths, "--json", "-", "--no-report", "--device", "cpu", cwd=tmp_path)
        assert done.returncode == 3, done.stderr
        assert "RuntimeError: second" in done.stderr

    def test_a_wrong_expression_exits_with_2(self, tmp_path: Path) -> None:
        text = SUITE + (
            "  - {name: b, workload: custom, params: {target: 'a:b', flops: 'rows', row: 3}}\n"
        )
        done = console("suite", "check", write(tmp_path, text), cwd=tmp_path)
        assert done.returncode == 2
        assert "s.yaml:5: benchmarks[0].params.flops: unknown name 'rows'" in done.stderr
        assert "Traceback" not in done.stderr
