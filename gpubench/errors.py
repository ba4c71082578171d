"""The exceptions of gpubench.

::

    GpubenchError
    ├── InputError            wrong usage or bad input           exit code 2
    │   ├── UnknownName       a name nobody knows, with near misses
    │   └── StoreError        a store that cannot be opened or written
    ├── GateFailed            a gate the user set did not hold   exit code 1
    ├── PartialFailure        some cases could not be done       exit code 3
    └── CaseError             one case cannot be completed; never stops a run
        ├── Unsupported       this device cannot do it: becomes a Skip
        └── CaseFailed        it should have worked: becomes a Failure

Foreign errors (CUDA, NVML, SQL, YAML) are translated into these once, at the module
that borders the foreign library. Only ``gpubench.cli`` turns them into exit codes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GpubenchError(Exception):
    """Root of every error that gpubench raises on purpose."""


class InputError(GpubenchError):
    """Bad input, told in one message: where, what is wrong, what was expected.

    Args:
        problem: what is wrong, as a clause without a final full stop.
        file: the file the input came from.
        line: 1-based line in ``file``.
        key: the key path within the file, e.g. ``benchmarks[0].matrix.size``.
        expected: what would have been accepted.
        nearest: the nearest valid spelling, offered as a suggestion.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
        expected: str | None = None,
        nearest: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = file
        self.line = line
        self.key = key
        self.expected = expected
        self.nearest = nearest
        super().__init__(problem)

    def at(
        self, *, file: str | None = None, line: int | None = None, key: str | None = None
    ) -> InputError:
        """The same error with places filled in where it has none yet."""
        return InputError(
            self.problem,
            file=self.file or file,
            line=self.line or line,
            key=self.key or key,
            expected=self.expected,
            nearest=self.nearest,
        )

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}"
        parts = [p for p in (place, self.key) if p]
        text = ": ".join([*parts, self.problem])
        if self.expected:
            text += f"; expected {self.expected}"
        if self.nearest:
            text += f"; did you mean {self.nearest!r}?"
        return text


class UnknownName(InputError):
    """A name that is not among the known ones.

    Args:
        kind: what the name should have been, e.g. ``"workload"``.
        name: the name as given.
        known: every valid name; the nearest becomes the suggestion.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(set(known))
        shown = ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")
        super().__init__(
            f"unknown {kind} {name!r}",
            expected=f"one of {shown}" if names else None,
            nearest=nearest(name, names),
        )


class StoreError(InputError):
    """A result store that cannot be opened, read or written."""


class GateFailed(GpubenchError):
    """A gate set by the user did not hold (exit code 1)."""


class PartialFailure(GpubenchError):
    """Part of the work could not be done; the rest is kept (exit code 3)."""


class CaseError(GpubenchError):
    """One case cannot be completed. The run goes on."""


class Unsupported(CaseError):
    """The device or software cannot do what the case asks; the reason says what can."""


class CaseFailed(CaseError):
    """A case that should have worked and did not.

    Args:
        kind: one of ``error``, ``out_of_memory``, ``timeout``, ``crash``, ``wrong_result``.
        message: one line for people.
        sticky: whether the process that ran it can no longer be trusted
            (a CUDA context after an illegal address, for example).
    """

    def __init__(self, kind: str, message: str, *, sticky: bool = False) -> None:
        self.kind = kind
        self.sticky = sticky
        super().__init__(message)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, or None where none is close."""
    names = list(known)
    folded = {n.lower(): n for n in reversed(names)}
    close = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None
