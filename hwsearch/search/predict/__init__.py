"""What measured plans teach about those that are not measured yet."""
