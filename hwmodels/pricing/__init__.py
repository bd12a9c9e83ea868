"""From a device, a workload and a space of widths to a table, and from the table to the prices of plans."""
