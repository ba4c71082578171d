"""A job of several processes that somebody else started: torchrun, or Slurm's srun.

Each process of the job runs the same command. The one of rank 0 is the one that plans, stores
and reports; the others only bring their ranks.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from gpubench.errors import InputError


@dataclass(frozen=True, slots=True)
class Job:
    """The job that this process is part of.

    Attributes:
        by: who started it.
        environment: what torch's rendezvous needs, where ``by`` does not set it.
    """

    by: str
    rank: int
    world: int
    environment: Mapping[str, str] = field(default_factory=dict)


def current(variables: Mapping[str, str] | None = None) -> Job | None:
    """The job of more than one rank that this process belongs to; None outside one.

    Args:
        variables: the environment; that of this process by default.

    Raises:
        InputError: Slurm's variables do not say where rank 0 is.
    """
    env = os.environ if variables is None else variables
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= set(env):
        found = Job("torchrun", int(env["RANK"]), int(env["WORLD_SIZE"]))
    # Inside a step only: the script of a batch job has SLURM_PROCID, too, and is alone.
    elif "SLURM_STEP_NUM_TASKS" in env and "SLURM_PROCID" in env:
        found = _slurm(env)
    else:
        return None
    return found if found.world > 1 else None


def _slurm(env: Mapping[str, str]) -> Job:
    rank, world = int(env["SLURM_PROCID"]), int(env["SLURM_STEP_NUM_TASKS"])
    if world == 1:
        return Job("srun", rank, world)
    address = env.get("MASTER_ADDR") or _first_host(env)
    # Every rank must come to the same number, and jobs beside each other to different ones.
    number = int(env.get("SLURM_JOB_ID", "0")) + int(env.get("SLURM_STEP_ID", "0"))
    return Job(
        "srun", rank, world,
        {
            "RANK": str(rank), "WORLD_SIZE": str(world),
            "LOCAL_RANK": env.get("SLURM_LOCALID", "0"),
            "LOCAL_WORLD_SIZE": _tasks_here(env, world),
            "MASTER_ADDR": address,
            "MASTER_PORT": env.get("MASTER_PORT", str(20_000 + number % 20_000)),
        },
    )  # fmt: skip


def _first_host(env: Mapping[str, str]) -> str:
    """The host of rank 0: the first of the step's nodes, expanded by Slurm itself."""
    nodes = env.get("SLURM_STEP_NODELIST", "")
    if nodes and "[" not in nodes:
        return nodes.split(",")[0]
    try:
        done = subprocess.run(
            ["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, timeout=10,
            check=True,
        )  # fmt: skip
        return done.stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        raise InputError(
            f"where rank 0 is cannot be told from SLURM_STEP_NODELIST={nodes!r}",
            expected="MASTER_ADDR set to the host of rank 0",
        ) from error


def _tasks_here(env: Mapping[str, str], world: int) -> str:
    """Tasks on this node from ``SLURM_STEP_TASKS_PER_NODE``, e.g. ``4(x2),3``."""
    text = env.get("SLURM_STEP_TASKS_PER_NODE", str(world))
    counts: list[str] = []
    for part in text.split(","):
        count, _, times = part.partition("(x")
        counts += [count] * int(times.rstrip(")") or 1) if times else [count]
    node = int(env.get("SLURM_NODEID", "0"))
    return counts[node] if node < len(counts) else counts[-1]


def follow(job: Job) -> int:
    """Bring this process's rank to the job until rank 0 has done; returns the exit status."""
    return subprocess.run(
        [sys.executable, "-m", "gpubench.engine.group", "--join"],
        env={**os.environ, **job.environment}, stdin=subprocess.DEVNULL, check=False,
    ).returncode  # fmt: skip
