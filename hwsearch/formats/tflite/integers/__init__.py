"""A TFLite file in integers throughout, code for code: what our engine executes as LiteRT does (see ``read.load``)."""
