"""Dialogue: a prompt is read at once, then tokens come one by one from a KV cache."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gpubench.errors import InputError
from gpubench.model.networks import TRANSFORMERS, build
from gpubench.ports import Device
from gpubench.record import Accuracy, Fact
from gpubench.spec import DeviceInfo, Work
from gpubench.workloads.operands import rel_error, seeded_weights, torch_dtype
from gpubench.workloads.parameters import Declared, chosen, read_field, sized

if TYPE_CHECKING:
    import torch

MODELS: Final = tuple(n for n, (_, _, head) in TRANSFORMERS.items() if head == "causal-lm")
INSTALL: Final = "pip install 'gpubench[models]'"
PRECISIONS: Final = ("fp32", "tf32", "fp16", "bf16")
REPEATS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue(Declared):
    """Greedy generation of ``new_tokens`` after a prompt of ``context`` tokens, random weights.

    Nothing ends a text early: every call makes as many tokens.
    """

    name: ClassVar[str] = "dialogue"

    precision: str
    model: str = chosen("a causal language model", MODELS, "gpt2")
    batch: int = sized("dialogues at once", 1)
    context: int = sized("tokens of the prompt", 128)
    new_tokens: int = sized("tokens generated", 32)
    attention: str = chosen("eager or sdpa", ("eager", "sdpa"), "sdpa")
    checkpoint: str = read_field(
        "file or folder of weights; empty: random", lambda _name, value: str(value), ""
    )

    def refuse_impossible(self) -> None:
        """The cache holds no more than the model's positions.

        Raises:
            InputError: prompt and answer together are longer.
        """
        most = 2048 if self.model.startswith("opt") else 1024
        if self.context + self.new_tokens > most:
            raise InputError(
                f"{self.context} + {self.new_tokens} tokens", key="context",
                expected=f"at most {most} together, the positions of {self.model}",
            )  # fmt: skip

    def label(self) -> str:
        """E.g. ``gpt2 8x512+64``: dialogues, prompt, answer."""
        return f"{self.model} {self.batch}x{self.context}+{self.new_tokens}"

    def work(self) -> Work | None:
        """Not counted: what a decoding step moves and computes grows with the cache."""
        return None

    def unsupported(self, device: DeviceInfo) -> str | None:
        """What is missing to run it."""
        del device
        if find_spec("transformers") is None:
            return f"dialogue needs the models extra: {INSTALL}"
        if self.precision not in PRECISIONS:
            return f"dialogue runs in {', '.join(PRECISIONS)}"
        return None

    def build(self, device: Device, seed: int, data: str) -> Generation:
        """The network on the device, and a call that answers a random prompt."""
        del data  # tokens are ids, not values
        return Generation(self, device, seed)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """Scores of the last token by the cache against one pass over the whole text.

        The reference is the same network in FP32 without a cache: a cache that is misread,
        shifted or overwritten shows.
        """
        import torch

        del data
        made = Generation(self, device, seed)
        tokens, scores = made.generated()
        made.module.float()
        with torch.no_grad():
            whole = made.module(tokens, use_cache=False).logits[:, -1]
        tolerance = {"fp32": 1e-4, "tf32": 2e-2, "fp16": 2e-2, "bf16": 1e-1}[self.precision]
        said = "the same network in FP32 over the whole text, without a cache"
        return Accuracy(rel_error(scores, whole), tolerance, said)


class Generation:
    """A network with a prompt; calling it generates the answer."""

    def __init__(self, spec: Dialogue, device: Device, seed: int) -> None:
        import torch

        self._spec, self._device = spec, device
        target = device.info.torch_name
        with seeded_weights(device, seed):
            network = build(
                spec.model, batch=spec.batch, seq_len=spec.context, head="causal-lm",
                attention=spec.attention, device=target,
            )  # fmt: skip
        module: Any = network.module
        if spec.checkpoint:
            from gpubench.workloads.models.checkpoint import load_weights

            load_weights(module, spec.checkpoint)
        self.module = module.eval().to(torch_dtype(spec.precision))
        generator = torch.Generator().manual_seed(seed)
        words = int(self.module.config.vocab_size)
        shape = (spec.batch, spec.context)
        self._prompt = torch.randint(words, shape, generator=generator).to(target)

    def __call__(self) -> torch.Tensor:
        """The tokens of the answer."""
        return self.generated()[0]

    def prefill(self) -> tuple[torch.Tensor, Any]:
        """Read the prompt: scores of the next token, and the cache."""
        import torch

        with torch.no_grad():
            out = self.module(self._prompt, use_cache=True)
        return out.logits[:, -1], out.past_key_values

    def generated(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(prompt and all tokens but the last, scores from which the last is taken)."""
        import torch

        scores, cache = self.prefill()
        found = [self._prompt]
        with torch.no_grad():
            for _ in range(self._spec.new_tokens - 1):
                token = scores.argmax(-1, keepdim=True)
                found.append(token)
                out = self.module(token, past_key_values=cache, use_cache=True)
                scores, cache = out.logits[:, -1], out.past_key_values
        return torch.cat(found, 1), scores

    def observe(self, device: Device) -> Mapping[str, Fact]:
        """Time to the first token, and tokens a second after it."""
        first, whole = [], []
        for _ in range(REPEATS):
            start = time.perf_counter()
            self.prefill()
            device.synchronize()
            first.append(time.perf_counter() - start)
            start = time.perf_counter()
            self()
            device.synchronize()
            whole.append(time.perf_counter() - start)
        ttft_s, total_s = median(first), median(whole)
        later = self._spec.new_tokens - 1
        step_s = (total_s - ttft_s) / later if later and total_s > ttft_s else None
        return {
            "dialogue.first_token_s": ttft_s,
            "dialogue.token_s": step_s,
            "dialogue.tokens_per_s": self._spec.batch * self._spec.new_tokens / total_s,
        }
