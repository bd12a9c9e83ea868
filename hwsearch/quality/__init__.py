"""What a choice costs in quality: proxies, measurement, and what is remembered of it."""
