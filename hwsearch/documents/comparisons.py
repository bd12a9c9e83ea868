"""Comparisons of quantization methods, of rules of bit allocation and of quality proxies, and all that they were made from."""

from __future__ import annotations

from pydantic import Field

from hwmodels.numbers import Width
from hwsearch.documents.bounds import Scale
from hwsearch.documents.document import Document
from hwsearch.documents.trust import Trust


class Comparison(Document):
    """What is compared on: one network, with its weights."""

    network: str
    scale: Scale
    weights_sha256: str
    dropped: list[str] = Field(default_factory=list)
    """Blocks that the network is without; the floating-point network of a comparison of methods has them."""
    branches: dict[str, int] = Field(default_factory=dict)
    """Layer -> rank of its low-rank branch."""
    seed: int
    versions: dict[str, str]


class MethodRow(Document):
    """One method at one pair of widths.

    ``loss_db``: mean over the pictures against floating point on the same, with its standard error and half its 95 %
    interval; ``behind_db``: what the best method of these widths loses less, likewise, and whether that is a tie (the best is one
    with itself); ``first_db``: before the method finished the plan as a whole; ``seconds``: what the method took, its look
    at the pictures included, measured on this machine.
    """

    method: str
    weight_bits: int
    activation_bits: int
    quality_db: float
    loss_db: float
    stderr_db: float
    half_db: float | None
    behind_db: float
    behind_half_db: float | None
    tie: bool
    second: float
    first_db: float
    losses_db: list[float]
    seconds: float
    latency_s: float
    energy_j: float | None
    weight_bytes: int
    peak_activation_bytes: int
    priced_as: str
    """The widths that the target stores instead."""
    run_time_price: str
    remarks: list[str] = Field(default_factory=list)
    """What must be known of how the integers came to be, in sentences; rows of earlier versions have none."""


class MethodComparison(Comparison):
    """A comparison of methods, and all that it was made from."""

    target: str
    trust: Trust | None = None
    """How far the latencies may be off; files of earlier versions do not tell."""
    input_size: tuple[int, int] | None = None
    """Height and width of the picture that is priced; files of earlier versions do not tell."""
    scope: str
    about_scope: str = ""
    """A sentence where the scope names no layer of the network, and another one stands in its place."""
    quality_name: str = "PSNR-Y"
    """What ``quality_db`` and ``loss_db`` are of, and ``second_name`` what ``second`` is."""
    second_name: str = "SSIM-Y"
    float_db: float
    float_second: float
    pictures: list[str]
    effort: float = 1.0
    """Of methods that train: see ``quant.method.Draft``."""
    rows: list[MethodRow]


class Allocated(Document):
    """One plan: its widths, price and quality. ``mean_weight_bits`` are by parameters, ``mean_tensor_bits`` by elements, over the
    whole network; the four ratios say how many times smaller that is than 32 and than 8 bits. ``half_db``: half the 95 % interval
    of the loss, None for a single picture; ``second``: the task's other figure, of its integers."""

    weight_bits: dict[str, Width]
    activation_bits: dict[str, Width]
    mean_weight_bits: float
    mean_tensor_bits: float
    weights_than_fp32: float
    tensors_than_fp32: float
    weights_than_int8: float
    tensors_than_int8: float
    cost: float
    latency_s: float
    weight_bytes: int
    memory_bytes: int
    energy_j: float | None
    predicted_db: float
    simulated_db: float
    loss_db: float
    half_db: float | None
    losses_db: list[float]
    second: float


class AllocatorRow(Document):
    """A rule and the exact solver at its cost. ``rungs``: plans of the rule; ``gain_db``: what the exact plan loses less, with
    half its interval."""

    allocator: str
    reconstructed: str
    rungs: int
    rule: Allocated
    exact: Allocated
    gain_db: float
    gain_half_db: float | None
    tie: bool


class AllocatorComparison(Comparison):
    """A comparison of rules, and all that it was made from. ``eight_bits``: W8A8 beside them, whatever the budget, None where the
    target lacks it; ``unreached``: rules without a plan within the budget. ``float_second``: of ``second_name``."""

    target: str
    trust: Trust | None = None
    """How far the latencies may be off; files of earlier versions do not tell."""
    input_size: tuple[int, int] | None = None
    """Height and width of the picture that is priced; files of earlier versions do not tell."""
    scope: str
    about_scope: str = ""
    """A sentence where the scope names no layer of the network, and another one stands in its place."""
    budgets: dict[str, float]
    cost: str
    proxy: str
    quality_name: str
    second_name: str
    float_db: float
    float_second: float
    pictures: list[str]
    eight_bits: Allocated | None
    rows: list[AllocatorRow]
    unreached: list[str]


class Ranked(Document):
    """One proxy against the measured plans.

    ``spearman``, ``kendall``: rank correlation of predicted with measured loss (Kendall's tau-b). ``top_found``: share of the
    best tenth of the plans that is in the proxy's best tenth. ``error_db``, ``error_share``: median error of the predicted loss,
    in dB and as a share of the measured one, as the proxy comes; ``calibrated_...``: after its table was calibrated by four
    fifths of the plans, on the fifth that it has not seen, for all fifths. ``cpu_s``: processor time of the proxy, without the
    rounding of weights and tensors, which every proxy and every plan needs.
    """

    name: str
    spearman: float
    kendall: float
    top_found: float
    error_db: float
    error_share: float
    calibrated_error_db: float
    calibrated_error_share: float
    calibrated_spearman: float
    cpu_s: float
    forward_passes: int
    backward_passes: int
    predicted_db: list[float]
    calibrated_db: list[float]


class Ranking(Comparison):
    """A comparison of proxies, and all that it was made from. ``plan_cpu_s``: processor time of measuring one plan."""

    weight_bits: tuple[Width, ...]
    activation_bits: tuple[Width, ...]
    names: list[str]
    plans: list[list[int]]
    simulated_db: list[float]
    float_db: float
    pictures: list[str]
    pixels: int
    """High-resolution pixels that every plan was measured on."""
    plan_cpu_s: float
    draw: str
    """How the plans were drawn (``random_plans.DRAWS``)."""
    loss_range_db: tuple[float, float]
    """Between which losses nine of ten of them lie."""
    proxies: list[Ranked]
