"""Values put somewhere else: views, permutations, padding, resizing, warping."""
