"""Classifiers: networks that return no picture."""

IMAGENET = "0.485,0.456,0.406/0.229,0.224,0.225"
"""Mean and deviation of ImageNet's values in 0..1, red, green, blue, which published classifiers expect."""
TASK = "classifier"
"""The task that judges them (``searchspaces.tasks``)."""
