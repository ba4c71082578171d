"""What cuDNN answered for some layers on some described GPUs, and a frontend that replays it.

``python -m tests.workloads.cudnn_recording`` records anew; it needs the frontend and cuDNN,
but no GPU. The replayed frontend has the real one's quirk: notes of engines added by number
are looked up under the indices of the plans that came before.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gpubench.workloads.conv2d import Conv2d
from gpubench.workloads.cudnn_frontend import Frontend, describe_device, load
from gpubench.workloads.cudnn_plans import NOTES, Layer, PlanRefused, engine_of, notes_of

FILE = Path(__file__).parent / "data" / "cudnn_answers.json"

# Datasheets, and the table of compute capabilities in the CUDA C++ Programming Guide.
GPUS = {
    "p4": describe_device(
        (6, 1), sm_count=20, memory_bytes=8 * 10**9, l2_bytes=2 * 2**20, sm_clock_hz=1.1135e9,
        memory_clock_hz=3.003e9, shared_optin_bytes=49152,
    ),
    "v100": describe_device(
        (7, 0), sm_count=80, memory_bytes=16 * 10**9, l2_bytes=6 * 2**20, sm_clock_hz=1.53e9,
        memory_clock_hz=0.877e9, shared_optin_bytes=98304,
    ),
    "a100": describe_device(
        (8, 0), sm_count=108, memory_bytes=40 * 10**9, l2_bytes=40 * 2**20, sm_clock_hz=1.41e9,
        memory_clock_hz=1.215e9, shared_optin_bytes=166912,
    ),
    "h200": describe_device(
        (9, 0), sm_count=132, memory_bytes=141 * 10**9, l2_bytes=50 * 2**20, sm_clock_hz=1.98e9,
        memory_clock_hz=3.2e9, shared_optin_bytes=232448,
    ),
}  # fmt: skip


def conv(precision: str, direction: str = "fprop", layout: str = "nchw", **more: Any) -> Conv2d:
    params = {"batch": 32, "c_in": 64, "c_out": 64, "size": 56, "padding": 1,
              "direction": direction, "layout": layout, "algorithm": "all", **more}  # fmt: skip
    return Conv2d.from_params(params, precision)


RECORDED = {
    "v100 fp32 fprop nchw": ("v100", conv("fp32")),
    "v100 fp32 wgrad nchw": ("v100", conv("fp32", "wgrad")),
    "h200 fp32 fprop nchw": ("h200", conv("fp32")),
    "h200 fp16 dgrad nhwc": ("h200", conv("fp16", "dgrad", "nhwc")),
}


def record() -> None:
    cudnn = load()
    found: dict[str, Any] = {"version": int(cudnn.backend_version()), "layers": {}}
    for title, (gpu, work) in RECORDED.items():
        frontend, layer = Frontend(cudnn, device=GPUS[gpu]), Layer.of(work)
        heuristic, engines = list(frontend.heuristic(layer)), {}
        for engine in range(frontend.engine_count(layer)):
            try:
                name = frontend.default_plan(layer, engine)
            except PlanRefused as error:
                engines[str(engine)] = {"refused": str(error)}
                continue
            workspace, behavior, _ = frontend.build(layer, name)
            notes = notes_of(layer, frontend, engine)
            engines[str(engine)] = {
                "workspace": workspace, "behavior": list(behavior), "notes": list(notes),
            }  # fmt: skip
        workspaces = {n: frontend.build(layer, n)[0] for n in dict.fromkeys(heuristic)}
        found["layers"][title] = {
            "heuristic": heuristic, "workspaces": workspaces, "engines": engines,
        }  # fmt: skip
    FILE.write_text(json.dumps(found, indent=1) + "\n")


class Refusal(Exception):
    """Stands for cudnnGraphNotSupportedError, which is no RuntimeError either."""


class Tensor:
    """A graph's tensor: takes what is set and knows its uid."""

    def __init__(self, uid: int) -> None:
        self.uid = uid

    def get_uid(self) -> int:
        return self.uid

    def set_output(self, _: bool) -> Tensor:
        return self

    set_dim = set_stride = set_data_type = set_output


class Graph:
    """A replayed ``pygraph``: plans are names, and notes live under indices."""

    def __init__(self, answers: dict[str, Any], ran: list[Any]) -> None:
        self.answers, self.ran = answers, ran
        self.plans: list[str] = []
        self.notes: list[list[str]] = []
        self.barred: list[str] = []
        self.tensors: list[Tensor] = []

    def tensor(self, **_: Any) -> Tensor:
        self.tensors.append(Tensor(len(self.tensors) + 1))
        return self.tensors[-1]

    conv_fprop = conv_dgrad = conv_wgrad = tensor

    def validate(self) -> None: ...

    build_operation_graph = validate

    def get_engine_count(self) -> int:
        return len(self.answers["engines"])

    def create_execution_plans(self, modes: list[str]) -> None:
        assert modes == ["A", "FALLBACK"]
        self.plans += self.answers["heuristic"]
        self.notes += [self._engine(n).get("notes", []) for n in self.answers["heuristic"]]

    def create_execution_plan(self, engine: int, knobs: dict[Any, Any]) -> None:
        assert not knobs
        answer = self.answers["engines"][str(engine)]
        if "refused" in answer:
            raise Refusal(answer["refused"])
        self.plans.append(f"eng{engine}")
        # The quirk: found under the index counted from the plans made by number alone.
        self.notes.append(self.notes[0] if self.notes else answer["notes"])

    def _engine(self, name: str) -> dict[str, Any]:
        return dict(self.answers["engines"][str(engine_of(name))])

    def get_execution_plan_count(self) -> int:
        return len(self.plans)

    def get_plan_name_at_index(self, index: int) -> str:
        return self.plans[index]

    def deselect_numeric_notes(self, notes: list[str]) -> None:
        self.barred += notes

    def build_plan_at_index(self, index: int) -> None:
        if set(self.barred) & set(self.notes[index]):
            raise Refusal("Deselecting execution plan")

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        name = self.plans[index]
        return int(self.answers["workspaces"].get(name, self._engine(name).get("workspace", 0)))

    def get_behavior_notes_for_plan_at_index(self, index: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=n) for n in self._engine(self.plans[index])["behavior"]]

    def execute_plan_at_index(self, pack: Any, workspace: Any, index: int, handle: Any) -> None:
        self.ran.append((self.plans[index], pack, workspace, handle))


def replayed(title: str) -> Any:
    """A module like ``cudnn`` that answers for one recorded layer."""
    recorded = json.loads(FILE.read_text())
    answers, ran = recorded["layers"][title], []
    names = {n: n for n in NOTES}
    return SimpleNamespace(
        backend_version=lambda: recorded["version"],
        create_device_properties=lambda text: text,
        create_handle=lambda: 77,
        set_stream=lambda handle, stream: ran.append(("stream", handle, stream)),
        pygraph=lambda **_: Graph(answers, ran),
        data_type=SimpleNamespace(FLOAT=0, HALF=1, BFLOAT16=2, DOUBLE=3),
        heur_mode=SimpleNamespace(A="A", FALLBACK="FALLBACK"),
        numerical_note=SimpleNamespace(**names),
        cudnnGraphNotSupportedError=Refusal,
        ran=ran,
        answers=answers,
    )


if __name__ == "__main__":
    record()
