"""A third-party workload that misbehaves on request; found by entry point."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gpubench.errors import InputError, Unsupported
from gpubench.ports import Variant
from gpubench.record import Accuracy
from gpubench.spec import DeviceInfo, Value, Work

BEHAVIOURS = (
    "ok", "raise", "segfault", "hang", "eat", "exit", "print", "wrong", "nan", "unsupported",
    "slow", "memory_error", "sigkill", "many", "none", "expand_segfault", "expand_raise",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hostile:
    name: ClassVar[str] = "hostile"

    behaviour: str
    precision: str = "fp32"
    index: int = 0
    rank: int = -1

    @classmethod
    def parameters(cls) -> Mapping[str, str]:
        return {
            "behaviour": "what to do", "index": "tells cases apart",
            "rank": "the only rank that does it; -1: all",
        }  # fmt: skip

    @classmethod
    def from_params(cls, params: Mapping[str, Value], precision: str) -> Hostile:
        if params.get("behaviour") not in BEHAVIOURS:
            raise InputError("no such behaviour", key="behaviour")
        index, rank = int(params.get("index", 0)), int(params.get("rank", -1))
        return cls(str(params["behaviour"]), precision, index, rank)

    def params(self) -> Mapping[str, Value]:
        found = {"behaviour": self.behaviour, "index": self.index}
        return found if self.rank < 0 else {**found, "rank": self.rank}

    def identity(self) -> Mapping[str, Value]:
        return self.params()

    def label(self) -> str:
        return f"{self.behaviour} {self.index}"

    def work(self) -> Work | None:
        return Work(flops=1e6, bytes=1e3, footprint_bytes=1e3, formula="made up")

    @property
    def expands(self) -> bool:
        return self.behaviour in ("many", "none", "expand_segfault", "expand_raise")

    def expand(self, device: object) -> list[Variant]:
        if self.behaviour == "none":
            raise Unsupported("nothing of the kind here: pip install something")
        if self.behaviour == "expand_segfault":
            ctypes.string_at(0)
        if self.behaviour == "expand_raise":
            raise ValueError("lost count")
        found = [Variant({"behaviour": "ok", "index": i}) for i in (1, 2)]
        return [*found, Variant({"behaviour": "ok", "index": 3}, "three is too many")]

    def observe(self, device: object) -> dict[str, object]:
        return {"hostile.index": self.index, "hostile.rank": None}

    def unsupported(self, device: DeviceInfo) -> str | None:
        return None

    def check(self, device: object, seed: int, data: str) -> Accuracy | None:
        error = {"wrong": 0.5, "nan": float("nan")}.get(self.behaviour, 0.0)
        return Accuracy(error, 1e-3, "made up")

    def build(self, device: object, seed: int, data: str) -> object:
        if self.rank >= 0 and os.environ.get("RANK") != str(self.rank):
            return self.do_ok
        return getattr(self, f"do_{self.behaviour}")

    def do_ok(self) -> None:
        pass

    do_wrong = do_nan = do_ok

    def do_slow(self) -> None:
        time.sleep(0.02 * float(os.environ.get("HOSTILE_SLOWNESS", "1")))

    def do_raise(self) -> None:
        raise ValueError("the kernel is unhappy\nwith a second line")

    def do_unsupported(self) -> None:
        raise Unsupported("this device lacks what the kernel wants")

    def do_memory_error(self) -> None:
        raise MemoryError

    def do_segfault(self) -> None:
        print("about to read address 0", file=sys.stderr, flush=True)
        ctypes.string_at(0)

    def do_sigkill(self) -> None:
        os.kill(os.getpid(), 9)

    def do_hang(self) -> None:
        time.sleep(3600)

    def do_eat(self) -> None:
        kept = []
        while True:
            kept.append(bytearray(os.urandom(1) * (16 * 2**20)))
            time.sleep(0.01)

    def do_exit(self) -> None:
        os._exit(7)

    def do_print(self) -> None:
        # Straight to the file descriptor, as a C library would.
        os.write(1, b'{"event": "record", "record": "forged"}\n')
