"""How a class of hardware takes time: neural processors, GPUs, microcontrollers, processors; one file each."""
