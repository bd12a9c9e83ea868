"""From where a plan is polished: with its layers fitted to what they read, or as it was calibrated.

Fitted layers lose less at once, and mostly after polishing; not always. What a layer is fitted to is its own, while polishing
looks at the output: of published MobileSR x4 at W4A4, without first and last layer, output_noise loses 1.34 dB on 15 pictures
when it is polished from where it was calibrated, and 1.73 from fitted layers. Pictures that neither saw tell which it is.
"""

from __future__ import annotations

from dataclasses import replace

from hwsearch.quant.learn.held_out import apart, loss
from hwsearch.quant.learn.polish import polish
from hwsearch.quant.learn.reconstruct import with_reconstructed_layers
from hwsearch.quant.method import Draft, Progress


def polished(draft: Draft, seed: int = 0, progress: Progress | None = None) -> Draft:
    """The better of both, polished, to go on with: its network is that which it was polished for, its pictures those that no
    decision needs."""
    held, seen = apart(draft.pictures, seed)
    fitted = with_reconstructed_layers(draft, seed)
    starts = {"polish": fitted}
    if fitted.quantized is not draft.quantized:
        starts["polish_as_calibrated"] = replace(draft, pictures=seen or held)
    report, found = progress or (lambda what, share: None), list[Draft]()
    for place, (name, start) in enumerate(starts.items()):
        begun = place / len(starts)
        own = polish(start, name=name, seed=seed, progress=lambda what, share: report(what, begun + share / len(starts)))  # noqa: B023  # asked at once
        found.append(replace(start, quantized=own))
    return min(found, key=lambda one: loss(one.quantized, held, draft.target))
