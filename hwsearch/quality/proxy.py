"""What a quality proxy is: how it is listed, and the function that measures."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwmodels.errors import FileError
from hwmodels.parts.elsewhere import advice, given
from hwsearch.quality.damage import Damage

if TYPE_CHECKING:
    from hwsearch.quant.calibrate import Calibration
    from searchspaces.tasks.task import Sample, Task


OUTPUT_SQNR = "output_sqnr"
"""The built-in proxy that quantizes one layer or tensor and looks at the output."""
CHECK = "check_proxy"


@dataclass(frozen=True)
class ProxyInfo:
    """A proxy as it is listed. ``cost`` says how many passes through the network it takes; ``searched``: whether every search
    measures it and starts from the best of them (``hwsearch proxies compare`` measures all).

    ``place``: where among the built-in proxies it is listed; ``function``: ``measure(calibration, samples, seed, progress=None,
    task=None) -> Damage``, by default that of the built-in file of the proxy's name, imported when it is first used.
    """

    name: str
    summary: str
    cost: str
    searched: bool = False
    place: int = 0
    function: Callable[..., Damage] | None = None

    def measure(
        self,
        calibration: Calibration,
        samples: Sequence[Sample],
        seed: int,
        progress: Callable[[str, float], None] | None = None,
        task: Task | None = None,
    ) -> Damage:
        """The damage of every choice of a calibrated network on some samples of a task.

        Raises:
            FileError: the function of the proxy, which may be somebody else's, gives no such table.
        """
        built_in = f"hwsearch.quality.proxies.{self.name}"
        function: Callable[..., Damage] = self.function or importlib.import_module(built_in).measure
        damage = given(function(calibration, samples, seed, progress, task), Damage, f"the proxy {self.name}", CHECK)
        if damage.noise.shape != (asked := calibration.space.allowed.shape):
            raise FileError(f"the proxy {self.name} gave noise {damage.noise.shape}, and the space has {asked}", advice(CHECK))
        return damage
