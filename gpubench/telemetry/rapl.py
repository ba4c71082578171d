"""Energy of CPU packages by RAPL, where the kernel lets this user read it.

``/sys/class/powercap/intel-rapl:N/energy_uj`` counts microjoules of package N, on Intel and on
AMD from Zen on; it wraps at ``max_energy_range_uj``. Linux has let only root read it since
CVE-2020-8694, and virtual machines mostly have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/class/powercap")


class Rapl:
    """The sum of all packages as one counter.

    Raises:
        OSError: no package counter can be read; the message says why.
    """

    def __init__(self, root: Path = ROOT) -> None:
        packages = [p for p in sorted(root.glob("intel-rapl:*")) if p.name.count(":") == 1]
        if not packages:
            raise OSError(f"there is no RAPL counter in {root} (a virtual machine has none)")
        self._files = [p / "energy_uj" for p in packages]
        self._ranges = [int((p / "max_energy_range_uj").read_text()) for p in packages]
        try:
            self._last = [int(f.read_text()) for f in self._files]
        except PermissionError as error:
            raise OSError("reading RAPL needs root (or read access to energy_uj)") from error
        self._total_uj = 0

    def energy_j(self) -> float:
        """Joules since this object was made; wraps of the counters are taken out."""
        for i, file in enumerate(self._files):
            now = int(file.read_text())
            self._total_uj += (now - self._last[i]) % (self._ranges[i] + 1)
            self._last[i] = now
        return self._total_uj * 1e-6

    def power_w(self) -> float | None:
        """RAPL has no power sensor."""
        return None
