"""Convolutions of integers on this CPU, all with the same sums: ``choice`` says which runs a layer, by the clock of ``timing``
where there are many.

Ours work in bands (``bands``): ``winograd``, and directly (``direct``) ``pair_conv``, ``quad_conv``, ``tile_conv``, each on the
inner loop of ``pair_products``, ``quad_products`` or ``tile_products``. ``word_products`` writes the loops of the first two,
``vector_code`` the instructions, for what ``cpu`` says that this one has. ``int8_kernel`` is that of torch.
"""
