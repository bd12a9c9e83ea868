"""Convolutions of integers on this CPU, all with the same sums: ``choice`` says which runs a layer.

``winograd`` and ``pair_conv`` are ours: in bands (``bands``), on the inner loop of ``pair_products``, whose instructions
``vector_code`` writes and ``compiled`` has numba compile. ``int8_kernel`` is that of torch.
"""
