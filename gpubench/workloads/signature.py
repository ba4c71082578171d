"""What a user's function can be given by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Function = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function can be given by name.

    Attributes:
        names: parameters that can be passed by keyword.
        anything: whether it has ``**kwargs``, or is a builtin that tells no signature and
            has to be trusted.
    """

    title: str
    names: tuple[str, ...]
    anything: bool
    signature: inspect.Signature | None

    @classmethod
    def of(cls, function: Function) -> Signature:
        """The signature of a function, as far as it can be known."""
        title = getattr(function, "__name__", repr(function))
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            return cls(title, (), True, None)
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        parameters = signature.parameters.values()
        return cls(
            title,
            tuple(p.name for p in parameters if p.kind in kinds),
            any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters),
            signature,
        )

    def takes(self, name: str) -> bool:
        """Whether an own parameter of that name can be passed."""
        return name in self.names or self.anything

    def named(self, offered: Mapping[str, Any]) -> dict[str, Any]:
        """Of what is offered, what the function asks for by name."""
        return {k: v for k, v in offered.items() if k in self.names}

    def filled(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> frozenset[str]:
        """Parameters that these arguments fill already."""
        if self.signature is None:
            return frozenset(kwargs)
        # Arguments that do not fit raise here, as the call itself would.
        return frozenset(self.signature.bind_partial(*args, **kwargs).arguments)

    def described(self) -> str:
        """For messages: ``inputs(rows, cols)``."""
        return f"{self.title}({', '.join((*self.names, *(['**'] if self.anything else [])))})"
