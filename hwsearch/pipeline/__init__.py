"""The main job, from a network and a device to proven plans and their documents."""
