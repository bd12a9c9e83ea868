"""Operators of whole layers that PyTorch records in place of its own modules when no gradient is asked for, in their parts.

``nn.MultiheadAttention`` and ``nn.TransformerEncoderLayer`` take such a "fast path" in evaluation. Source of the order of
their arguments: the schemas in ATen's native_functions.yaml; of what they compute: the documentation of the two modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


class Unfollowed(Exception):
    """What a program does that is not read, as a clause."""


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    num_head: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """``aten::_native_multi_head_attention``: sequences ``[N, L, embed_dim]``, the three projections stacked in one matrix.

    Raises:
        Unfollowed: weights are asked for by head, or a mask of padded keys.
    """
    if num_head < 1 or embed_dim % num_head or query.dim() != 3:
        raise RuntimeError(f"attention of {embed_dim} channels in {num_head} heads")
    if mask is not None and mask_type != 0:
        raise Unfollowed("attention with a mask of padded keys")
    parts = [
        F.linear(x, weight, bias).unflatten(-1, (num_head, embed_dim // num_head)).transpose(1, 2)
        for x, weight, bias in zip((query, key, value), qkv_weight.chunk(3), qkv_bias.chunk(3), strict=True)
    ]
    q, k, v = parts
    allowed = None if mask is None else ~mask
    if need_weights:
        scores = (q * (embed_dim // num_head) ** -0.5) @ k.transpose(-2, -1)
        weights = torch.softmax(scores if mask is None else scores.masked_fill(mask, float("-inf")), -1)
        found = weights @ v
    else:
        weights, found = None, F.scaled_dot_product_attention(q, k, v, allowed)
    joined = F.linear(found.transpose(1, 2).flatten(-2), proj_weight, proj_bias)
    if weights is not None and average_attn_weights:
        weights = weights.mean(1)
    return joined, weights


def encoder_layer(
    src: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor:
    """``aten::_transformer_encoder_layer_fwd``: attention and two matrices, each with a residual and a normalization.

    Raises:
        Unfollowed: see ``attention``.
    """

    def attended(x: Tensor) -> Tensor:
        given = (x, x, x, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask, False, True, mask_type)
        return attention(*given)[0]

    def forward(x: Tensor) -> Tensor:
        inner = F.linear(x, ffn_weight_1, ffn_bias_1)
        return F.linear(F.gelu(inner) if use_gelu else F.relu(inner), ffn_weight_2, ffn_bias_2)

    def first(x: Tensor) -> Tensor:
        return F.layer_norm(x, (embed_dim,), norm_weight_1, norm_bias_1, eps)

    def second(x: Tensor) -> Tensor:
        return F.layer_norm(x, (embed_dim,), norm_weight_2, norm_bias_2, eps)

    if norm_first:
        x = src + attended(first(src))
        return x + forward(second(x))
    x = first(src + attended(src))
    return second(x + forward(x))


FAST_PATHS: Mapping[str, Callable[..., object]] = {
    "_native_multi_head_attention": attention,
    "_transformer_encoder_layer_fwd": encoder_layer,
}
"""Operator -> what it computes, with the arguments of its schema."""
NESTED = ("to_padded_tensor", "_nested_tensor_from_mask", "_nested_tensor_from_mask_left_aligned")
"""Of sequences of different lengths: named in ``nn.TransformerEncoder``, run only where somebody masks keys."""
