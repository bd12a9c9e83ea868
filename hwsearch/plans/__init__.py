"""Questions to a plan: its price, its proof, why it is so, what another would be."""
