"""Together, a method of our own: calibrated by what disturbs the output least, then all numbers of a plan trained together.

Built from parts of others, each for what it was seen to do here:

* at calibration, as in ``output_noise``: channels equalized for the widths of the plan (Nagel et al. 2019, with ranges of
  activations as in SmoothQuant, Xiao et al. 2023), ranges by the noise that they bring to the output, weights rounded with
  compensation (OBC and GPTQ, Frantar et al. 2022), biases corrected. It is the better place to begin: training sets out from
  there, not from ranges of least squared error;
* a plan that is about to be used has its idle channels given work (``weights.idle``), and its layers fitted, one behind the
  other, to what they really read (``learn.reconstruct``);
* it is polished while its tensors stay (``learn.polish``), from there or from where it was calibrated (``learn.starts``): on
  published FSRCNN x2, four pictures, 400 steps, training ended 0.35 dB higher behind polishing at W4A4, 0.04 dB at W3A3;
* then integers, scales and biases of weights (LSQ, Esser et al. 2020) and both ends of tensors
  (LSQ+, Bhalgat et al. 2020) are trained together against the floating-point network (as 2DQuant, Liu et al. 2024, trains its
  bounds), through the integer grid itself;
* ours is what is lowered, the loss of a mean PSNR, and what is shown: windows drawn anew in every step, turned, mirrored, and
  with more contrast (``learn.together``).

What comes out is an ordinary integer network of the widths of the plan: it costs at run time what any other does.
"""

from __future__ import annotations

from dataclasses import replace

from hwsearch.quant.learn.starts import polished
from hwsearch.quant.learn.together import Hyperparameters, train
from hwsearch.quant.method import Draft, MethodInfo, Progress
from hwsearch.quant.methods.weights.output_noise import OutputNoise
from hwsearch.quant.network.graph import QuantizedGraph
from hwsearch.quant.observations import Observations

INFO = MethodInfo(
    title="Together (ours)",
    summary="calibrated as output_noise; chosen plans have all of their numbers trained together for the least loss of mean PSNR",
    source="hwsearch; after LSQ (2020), LSQ+ (2020), 2DQuant (2024) and what output_noise is after",
    family="equalized",
    trains=True,
)
HYPERPARAMETERS = Hyperparameters()
POLISHING = 0.2
"""The share of the time that polishing takes, about."""


def observe(seen: Observations) -> Together:
    """See ``quant.method.MethodModule``."""
    return Together(seen.equalized, symmetric=seen.symmetric)


class Together(OutputNoise):
    """See ``quant.method.Method``."""

    def finish(self, draft: Draft, seed: int, progress: Progress | None = None) -> QuantizedGraph:
        """Polished, from fitted layers or as calibrated, then all numbers trained together. Pictures that decide whether one of
        them helped are seen by none, unless there is only one."""
        report = progress or (lambda what, share: None)
        begun = polished(draft, seed, lambda what, share: report(what, POLISHING * share))
        # The network that it was polished for, in which idle channels may be at work, and still all pictures.
        trained = replace(begun, pictures=draft.pictures, teacher=draft.target)
        return train(trained, HYPERPARAMETERS, seed, lambda what, share: report(what, POLISHING + (1 - POLISHING) * share))
