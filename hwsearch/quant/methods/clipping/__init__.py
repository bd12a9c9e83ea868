"""Methods that say where ranges end, from what the pictures show; integers are the nearest."""
