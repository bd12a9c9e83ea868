"""Plans that are provably best for the additive problem."""
