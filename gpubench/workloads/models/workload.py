"""The workload ``model``: one whole training step, or one forward pass, of a network."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Self

from gpubench.errors import InputError, UnknownName
from gpubench.model.networks import (
    BUILT_IN,
    HEADS,
    RECURRENT,
    RECURRENT_STEPS,
    TEXT_TOKENS,
    TRANSFORMERS,
    VISION,
    generates,
    is_path,
    read_config,
)
from gpubench.model.step import NEW_TOKENS
from gpubench.ports import Call, Device
from gpubench.record import Accuracy
from gpubench.spec import DeviceInfo, Value, Work
from gpubench.workloads.parameters import Declared, chosen, declared, flagged, read_field, sized

if TYPE_CHECKING:
    from gpubench.workloads.applications.dialogue import Dialogue

MODES: Final = ("inference", "training", "generate", "train_to_quality")
QUALITY: Final = ("corpus", "target_f1", "learning_rate", "steps", "seed")
"""Parameters of ``train_to_quality`` alone."""
ADAPTERS: Final = ("none", "lora")
OPTIMIZERS: Final = ("none", "sgd", "adamw")
PRECISIONS: Final = ("fp32", "tf32", "fp16", "bf16")
IMAGE_SIZE: Final = 224
RESIZABLE: Final = ("resnet50",)
"""Image networks that end in an average over positions and so take any size."""
HEADLESS: Final = ("vae",)
CHECKPOINTED: Final = ("alexnet", "resnet50")
"""Networks other than transformers that are made of layers in a row."""
INSTALL: Final = "pip install 'gpubench[models]'"


def _model(name: str, value: Value | None) -> str:
    """A built-in name, or the path of a configuration that can be read."""
    text = str(value)
    if is_path(text):
        read_config(Path(text))
    elif text not in BUILT_IN:
        raise UnknownName(name, text, BUILT_IN).at(key=name)
    return text


def _positive(name: str, value: Value | None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{value!r} found", key=name, expected="a number above 0")
    return float(value)


def _head(name: str, value: Value | None) -> str:
    if value not in ("", *HEADS):
        raise UnknownName(name, str(value), HEADS).at(key=name)
    return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(Declared):
    """One step of a network with random weights on random data that lies on the device.

    A training step is forward, loss, backward and the optimizer's pass; data loading and the
    transfer to the device are no part of its time, they are measured as ranges beside it.
    FP16 and BF16 train by autocast over FP32 weights, FP16 with a scaled loss; inference
    stores the weights in that format. ``train_to_quality`` times the same step, then learns to
    find named entities until a target is reached.
    """

    name: ClassVar[str] = "model"

    precision: str
    model: str = read_field("a built-in name or a Hugging Face config.json", _model, MISSING)
    mode: str = chosen("inference, training, generate or train_to_quality", MODES, "inference")
    batch: int = sized("samples of a step; of each part of it with accumulate", 1)
    seq_len: int = sized("tokens of a sample; 0: the model's usual", 0, least=0)
    image_size: int = sized("pixels along a side of an image", IMAGE_SIZE, least=64)
    head: str = read_field(f"one of {', '.join(HEADS)}; empty: the model's own", _head, "")
    attention: str = chosen("eager or sdpa", ("eager", "sdpa"), "sdpa")
    adapter: str = chosen("none or lora", ADAPTERS, "none")
    frozen_backbone: bool = flagged("whether only the head is trained", default=False)
    optimizer: str = chosen("none, sgd or adamw", OPTIMIZERS, "none")
    accumulate: int = sized("parts whose gradients are added up before a step", 1)
    checkpointing: bool = flagged(
        "whether activations are computed again in the backward pass", default=False
    )
    compile: bool = flagged("whether torch.compile makes the kernels", default=False)
    checkpoint: str = read_field(
        "file or folder of weights; empty: random", lambda _name, value: str(value), ""
    )
    corpus: str = read_field(
        "folder of CoNLL files; empty: a generated one", lambda _name, value: str(value), ""
    )
    target_f1: float = read_field("entity-level F1 to be reached", _positive, 0.9)
    learning_rate: float = read_field("of the optimizer, while learning", _positive, 1e-3)
    steps: int = sized("steps after which learning ends in any case", 600)
    seed: int = sized("of weights and samples, while learning", 0, least=0)
    new_tokens: int = sized("tokens generated after a prompt of seq_len", NEW_TOKENS)

    @classmethod
    def from_params(cls, params: Mapping[str, Value], precision: str) -> Self:
        """Validate; what a model has anyway is the same as leaving it out.

        Raises:
            InputError: with ``key`` set to the parameter that does not fit.
        """
        made = super(Model, cls).from_params(params, precision)
        if made.seq_len == made.usual_len:
            made = replace(made, seq_len=0)
        if made.head == made.own_head:
            made = replace(made, head="")
        return made

    def refuse_impossible(self) -> None:
        """Refuse what this network does not have, and training parameters of inference."""
        if not self.usual_len and self.seq_len:
            raise InputError(f"{self.model} has no sequence", key="seq_len", expected="none")
        if self.image_size != IMAGE_SIZE and self.model not in RESIZABLE:
            raise InputError(
                f"{self.model} takes no other image_size", key="image_size",
                expected=f"{IMAGE_SIZE}, or one of {', '.join(RESIZABLE)}",
            )  # fmt: skip
        if not self.is_text and self.head not in ("", self.own_head):
            raise InputError(f"{self.model} has no head {self.head!r}", key="head", expected="none")
        if self.is_text and self.head == "image-classification":
            raise InputError("that head is for images", key="head", expected="one for text")
        if not self.trains:
            self._refuse_training()
        if self.mode == "generate":
            self._refuse_what_generates_nothing()
        elif self.new_tokens != NEW_TOKENS:
            raise InputError(
                f"{self.mode} has no new_tokens", key="new_tokens", expected="mode: generate"
            )
        if self.mode == "train_to_quality":
            self._refuse_what_learns_no_names()
        else:
            self._refuse_quality()
        if self.adapter == "lora" and not self.is_text:
            raise InputError("lora is for transformers", key="adapter", expected="none")
        if self.adapter == "lora" and self.frozen_backbone:
            raise InputError(
                "lora has a frozen backbone already", key="frozen_backbone", expected="false"
            )
        if self.frozen_backbone and self.model in HEADLESS:
            raise InputError(f"{self.model} has no head to train alone", key="frozen_backbone")
        if self.checkpointing and not (self.is_text or self.model in CHECKPOINTED):
            raise InputError(f"{self.model} has no layers to checkpoint", key="checkpointing")

    def _refuse_training(self) -> None:
        given = {
            "optimizer": self.optimizer != "none", "frozen_backbone": self.frozen_backbone,
            "accumulate": self.accumulate > 1, "checkpointing": self.checkpointing,
            "adapter": self.mode == "generate" and self.adapter != "none",
            "compile": self.mode == "generate" and self.compile,
        }  # fmt: skip
        for name, there in given.items():
            if there:
                raise InputError(
                    f"{self.mode} has no {name}", key=name, expected="mode: training beside it"
                )

    def _refuse_what_generates_nothing(self) -> None:
        if self.model in BUILT_IN and not generates(self.model):
            raise InputError(
                f"{self.model} generates no text", key="model",
                expected=f"one of {', '.join(filter(generates, BUILT_IN))}, or a config.json",
            )  # fmt: skip
        if self.head not in ("", "causal-lm"):
            raise InputError("only a language model generates", key="head", expected="causal-lm")

    def _refuse_what_learns_no_names(self) -> None:
        if not self.is_text or self.head != "token-classification":
            raise InputError(
                "names are found by a transformer's labels of tokens", key="head",
                expected="head: token-classification",
            )  # fmt: skip
        if self.optimizer == "none":
            raise InputError(
                "without an optimizer nothing learns", key="optimizer", expected="sgd or adamw"
            )
        if self.target_f1 > 1:
            raise InputError(f"{self.target_f1:g} found", key="target_f1", expected="at most 1")

    def _refuse_quality(self) -> None:
        for f in declared(type(self)):
            if f.name in QUALITY and getattr(self, f.name) != f.default:
                raise InputError(
                    f"{self.mode} has no {f.name}", key=f.name, expected="mode: train_to_quality"
                )

    def params(self) -> Mapping[str, Value]:
        """Canonical parameters; those that this network does not have are left out."""
        found = dict(super(Model, self).params())
        found |= {"seq_len": self.length, "head": self.head or self.own_head}
        if not self.usual_len:
            del found["seq_len"]
        if not self.is_text:
            del found["head"], found["attention"]
        if self.model not in RESIZABLE:
            del found["image_size"]
        if not self.checkpoint:
            del found["checkpoint"]
        if self.mode != "train_to_quality":
            found = {k: v for k, v in found.items() if k not in QUALITY}
        elif not self.corpus:
            del found["corpus"]
        if self.mode != "generate":
            del found["new_tokens"]
        return found

    @property
    def is_text(self) -> bool:
        """Whether it is a transformer over text."""
        return self.model in TRANSFORMERS or is_path(self.model)

    @property
    def usual_len(self) -> int:
        """Length of a sequence where none is given; 0 for images."""
        if self.model in RECURRENT:
            return RECURRENT_STEPS
        return 0 if self.model in VISION else TEXT_TOKENS

    @property
    def own_head(self) -> str:
        """The head that this model has by itself."""
        if self.model in TRANSFORMERS:
            return TRANSFORMERS[self.model][2]
        if self.is_text:
            return "causal-lm"
        return "image-classification" if self.model in CHECKPOINTED else ""

    @property
    def length(self) -> int:
        """Tokens of a sample; 0 for images."""
        return self.seq_len or self.usual_len

    @property
    def samples(self) -> int:
        """Samples of a whole step."""
        return self.batch * self.accumulate

    @property
    def trains(self) -> bool:
        """Whether it is a training step."""
        return self.mode in ("training", "train_to_quality")

    def label(self) -> str:
        """E.g. ``bert-base training 32x128 adamw lora``."""
        name = Path(self.model).parent.name if is_path(self.model) else self.model
        size = f"{self.batch}x{self.length}" if self.length else f"{self.batch}"
        if self.mode == "generate":
            size += f"+{self.new_tokens}"
        if self.image_size != IMAGE_SIZE:
            size += f"x{self.image_size}px"
        said = {
            self.head: bool(self.head), self.attention: self.attention != "sdpa",
            self.optimizer: self.optimizer != "none", "lora": self.adapter == "lora",
            "frozen backbone": self.frozen_backbone,
            f"{self.accumulate} parts": self.accumulate > 1,
            "checkpointing": self.checkpointing, "compiled": self.compile,
            f"lr {self.learning_rate:g}": self.learning_rate != 1e-3,
            f"seed {self.seed}": bool(self.seed),
        }  # fmt: skip
        return " ".join([name, self.mode, size, *(text for text, holds in said.items() if holds)])

    def work(self) -> Work | None:
        """Not known before the network is there; FLOPs are among the facts of a measurement."""
        return None

    def unsupported(self, device: DeviceInfo) -> str | None:
        """Extras that are not installed, formats that steps are not run in."""
        if self.precision not in PRECISIONS:
            return f"model does not offer {self.precision}: it has {', '.join(PRECISIONS)}"
        if self.is_text and find_spec("transformers") is None:
            return f"transformers is not installed: {INSTALL}"
        if self.adapter == "lora" and find_spec("peft") is None:
            return f"peft is not installed: {INSTALL}"
        if self.mode == "train_to_quality" and find_spec("sklearn") is None:
            return f"scikit-learn is not installed: {INSTALL}"
        if self.compile and device.type == "cpu" and not _has_compiler():
            return "torch.compile needs a C++ compiler on CPU: install g++, or set CXX"
        return None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Network, data and optimizer on the device, and the step.

        Raises:
            Unsupported: the batch does not fit; the reason says the largest that does.
        """
        if self.mode == "generate":
            return self._dialogue().build(device, seed, data)
        from gpubench.workloads.models.fitting import fitted_step

        return fitted_step(self, device, seed, data)

    def check(self, device: Device, seed: int, data: str) -> Accuracy | None:
        """Gradients, or outputs, of a few samples against FP64; None where too large."""
        if self.mode == "generate":
            return self._dialogue().check(device, seed, data)
        from gpubench.workloads.models.checking import checked

        return checked(self, device, seed, data)

    def _dialogue(self) -> Dialogue:
        """The same work as workload ``dialogue`` does it, for any configuration."""
        from gpubench.workloads.applications.dialogue import Dialogue

        return Dialogue(
            precision=self.precision, model=self.model, batch=self.batch, context=self.length,
            new_tokens=self.new_tokens, attention=self.attention, checkpoint=self.checkpoint,
        )  # fmt: skip


def _has_compiler() -> bool:
    return any(shutil.which(c) for c in (os.environ.get("CXX", "g++"), "g++", "clang++"))
