"""The canonical graph of a network, its exact rewritings, its execution, and the workload it makes."""
