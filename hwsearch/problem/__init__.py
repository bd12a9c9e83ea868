"""A request in the user's words, posed as a network on a device with budgets and pictures."""
