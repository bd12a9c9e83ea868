"""What an operator of a file reads, as the function that reads the operator sees it: values of the picture, or constants."""

from __future__ import annotations

from typing import Generic, TypeVar

from hwsearch.formats.reading.builder import Map
from searchspaces.ops.reading import NotRead

Constant = TypeVar("Constant")


class Operands(Generic[Constant]):
    """The inputs of a call; ``inputs``: None where one is left out. ``Constant``: what a format makes of its constants."""

    inputs: tuple[Map | Constant | None, ...]

    def has(self, place: int) -> bool:
        """Whether an input is given."""
        return self._at(place) is not None

    def map(self, place: int = 0) -> Map:
        """An input that depends on the picture.

        Raises:
            NotRead: it is a constant, or left out.
        """
        value = self._at(place)
        if not isinstance(value, Map):
            raise NotRead(f"its input {place} is {'a constant' if value is not None else 'left out'}")
        return value

    def constant(self, place: int, what: str = "") -> Constant:
        """An input that is a constant.

        Raises:
            NotRead: it is computed from the picture, or left out.
        """
        value = self._at(place)
        if value is None or isinstance(value, Map):
            raise NotRead(f"{what or f'its input {place}'} is {'computed from the picture' if value is not None else 'left out'}")
        return value

    def _at(self, place: int) -> Map | Constant | None:
        return self.inputs[place] if len(self.inputs) > place else None
