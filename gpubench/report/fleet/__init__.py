"""The page of a fleet: what is odd, which hosts to drain, every device in one picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

import gpubench
from gpubench.analysis.fleet import FAST, Fleet, Odd
from gpubench.codec import dumps
from gpubench.errors import InputError, UnknownName
from gpubench.report.fleet.view import fleet_view, known
from gpubench.report.page import PLAIN_SCRIPTS, joined, script_policy, templates, write_whole

__all__ = ["FORMATS", "document", "text", "write"]

FORMATS: Final = ("html", "markdown", "json")


def write(fleet: Fleet, path: Path, fmt: str = "html") -> Path:
    """Write the page of a fleet and return where it is.

    Raises:
        InputError: an unknown format, or a place that cannot be written.
    """
    return write_whole((text(fleet, fmt).rstrip("\n") + "\n").encode("utf-8", "replace"), path)


def text(fleet: Fleet, fmt: str = "html") -> str:
    """A fleet as ``html``, ``markdown`` or ``json``.

    Raises:
        InputError: another format.
    """
    makers: dict[str, Callable[[Fleet], str]] = {
        "html": _html,
        "markdown": lambda f: templates().get_template("fleet.md.j2").render(view=fleet_view(f)),
        "json": lambda f: dumps(document(f), indent=1),
    }
    if fmt not in makers:
        if fmt in ("csv", "parquet"):
            raise InputError(f"a fleet has no {fmt} form", expected=" or ".join(FORMATS))
        raise UnknownName("format of a fleet", fmt, FORMATS)
    return makers[fmt](fleet)


def _html(fleet: Fleet) -> str:
    script = joined(*PLAIN_SCRIPTS)
    style = joined("report.css", "dashboard.css", "fleet.css")
    # "</script>" must not end the element.
    data = dumps(document(fleet)).replace("<", "\\u003c")
    return templates().get_template("fleet.html.j2").render(
        view=fleet_view(fleet), version=gpubench.__version__, policy=script_policy(script),
        style=Markup(style), script=Markup(script), data=Markup(data),
    )  # fmt: skip


def document(fleet: Fleet) -> dict[str, Any]:
    """A fleet as JSON for other programs: every device with its scores."""
    return {
        "fleet": fleet.name,
        "suites": list(fleet.suites),
        "started_at": fleet.started_at,
        "headline": fleet.headline,
        "rule": {"fdr": fleet.rule.fdr, "floor": fleet.rule.floor, "noise": fleet.rule.noise},
        "drain": [
            {"host": host, "devices": [o.member.name for o in odds]} for host, odds in fleet.drain
        ],
        "odd": [_odd(o) for o in fleet.odd],
        "unmeasured": [{"where": where, "why": why} for where, why in fleet.unmeasured],
        "models": [
            {
                "model": g.model,
                "judged": g.scores.judged,
                "devices": [
                    {
                        "name": m.name, "host": m.host, "rack": m.rack, "device": m.device,
                        "runs": list(m.run_ids), "cases": len(m.points), "failed": len(m.failed),
                        "ratio": known(g.scores.overall[i]), "z": known(g.scores.overall_z[i]),
                        "p_slow": float(g.scores.p_slow[i]), "p_fast": float(g.scores.p_fast[i]),
                    }
                    for i, m in enumerate(g.members)
                ],
            }
            for g in fleet.groups
        ],
    }  # fmt: skip


def _odd(odd: Odd) -> dict[str, Any]:
    return {
        "name": odd.member.name,
        "host": odd.member.host,
        "rack": odd.member.rack,
        "device": odd.member.device,
        "model": odd.member.model,
        "kind": odd.kind,
        "drain": odd.kind != FAST,
        "ratio": odd.ratio,
        "z": odd.z,
        "p": odd.p,
        "text": odd.text,
        "hints": list(odd.hints),
        "worst": [
            {"key": c.key, "name": c.name, "ratio": c.ratio, "z": c.z} for c in odd.worst
        ],
        "failed": [{"key": k, "reason": why} for k, why in odd.member.failed.items()],
    }  # fmt: skip
