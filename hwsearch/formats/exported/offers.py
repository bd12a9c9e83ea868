"""What there is for programs of torch.export, to be listed (see ``readers``)."""

from __future__ import annotations

from hwsearch.formats.reading.readers import ReaderInfo

READERS = (
    ReaderInfo(
        "exported",
        "PyTorch programs of torch.export",
        (".pt2",),
        "hwsearch.formats.exported.read",
        table="searchspaces.tracing.walker:HANDLERS",
    ),
)
