"""The address of a database, without its secrets.

A password in ``postgresql://USER:PASSWORD@HOST/DATABASE`` is taken out when the address is read, once, and given to the driver
apart from it. Whatever prints, logs or stores the address afterwards has nothing to hide. An address that cannot be read is not
shown at all, since nobody can say where in it the password is.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlencode

from hwmodels.errors import UsageError

_SECRET = ("password", "sslpassword")
_SCHEMES = ("postgresql", "postgresql+psycopg", "postgres")
_HOSTS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.\-]*)(:\d+)?")
_FORM = "Write postgresql://USER@HOST/DATABASE, with the password in PGPASSWORD or ~/.pgpass, or as USER:PASSWORD@HOST."
_IN_TEXT = ((re.compile(r"(\w://[^\s/:@]*):[^\s]*@"), r"\1:***@"), (re.compile(r"([?&]\w*password=)[^&\s]*"), r"\1***"))


class StorageUrl(str):
    """An address as text, without password. ``secrets`` are the driver's arguments that were in it, such as ``password``."""

    secrets: dict[str, str]

    @classmethod
    def read(cls, text: str) -> StorageUrl:
        """Take an address apart; one that has been read before is returned as it is.

        Raises:
            UsageError: it is not the address of a PostgreSQL database; the message does not show it.
        """
        if isinstance(text, cls):
            return text
        scheme, _, rest = text.partition("://")
        if scheme not in _SCHEMES:
            known = scheme if re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) and rest else "this"
            raise UsageError(f"--storage: {known} is not the address of a PostgreSQL database", _FORM)
        server, _, place = rest.partition("/")
        user, _, host = server.rpartition("@")
        database, _, query = place.partition("?")
        if not _HOSTS.fullmatch(host) or not database or "@" in place:
            raise UsageError(
                "--storage: the address cannot be read (it is not shown, for it may hold a password)",
                f"{_FORM} Signs such as / ? @ in a password are written %2F %3F %40.",
            )
        name, colon, password = user.partition(":")
        secrets = {"password": unquote(password)} if colon else {}
        options = parse_qsl(query, keep_blank_values=True)
        secrets |= {key: value for key, value in options if key in _SECRET}
        kept = urlencode([(key, value) for key, value in options if key not in _SECRET], safe="/")
        address = f"postgresql://{name}{'@' if name else ''}{host}/{database}{'?' if kept else ''}{kept}"
        url = super().__new__(cls, address)
        url.secrets = secrets
        return url

    def hide(self, text: str) -> str:
        """``text`` without the secrets of this address, wherever they stand."""
        for secret in self.secrets.values():
            text = text.replace(secret, "***") if secret else text
        return redacted(text)


def redacted(text: str) -> str:
    """``text`` with ``***`` for the password of every address in it."""
    for pattern, shown in _IN_TEXT:
        text = pattern.sub(shown, text)
    return text
