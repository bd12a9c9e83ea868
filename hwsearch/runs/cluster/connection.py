"""How the database of a shared study is reached: opened, closed, pinged, and what its errors are called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import select
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnection

from hwmodels.errors import FileError, UsageError
from hwsearch.documents.url import StorageUrl

AWAY = (OperationalError, InterfaceError, NoConnection)
"""What a transaction raises when the database is away, maybe not for long."""
_LOCK = 0x687773656172
"""Of PostgreSQL's advisory locks, ours: "hwsear" in ASCII."""
_CONNECT_S = 20


def opened(url: StorageUrl) -> RDBStorage:
    """Connect; the first process makes Optuna's tables, and the others wait until it has."""
    engine = sqlalchemy.create_engine(_address(url), **_engine_arguments(url))
    try:
        with engine.connect() as connection:
            connection.execute(select(sqlalchemy.func.pg_advisory_lock(_LOCK)))
            return RDBStorage(_address(url), engine_kwargs=_engine_arguments(url))
    finally:
        engine.dispose()  # the lock ends with its connection


def close(storage: RDBStorage) -> None:
    """Give the connections back."""
    storage.remove_session()
    storage.engine.dispose()


def answers(url: StorageUrl) -> bool:
    """Whether a server is there and takes connections; one that is starting, stopping or away does not, one that will refuse this
    user does (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PQPING).

    Raises:
        UsageError: the driver is not installed.
    """
    with database_errors(url):
        from psycopg.conninfo import make_conninfo
        from psycopg.pq import PGconn, Ping

        return PGconn.ping(make_conninfo(url, connect_timeout=_CONNECT_S).encode()) == Ping.OK


def _address(url: StorageUrl) -> str:
    return "postgresql+psycopg" + url[url.index("://") :]


def _engine_arguments(url: StorageUrl) -> dict[str, Any]:
    """One lasting connection a process, checked before it is used. Signs of life are compared in one time zone."""
    arguments = {"connect_timeout": _CONNECT_S, "options": "-c timezone=UTC", **url.secrets}
    return {"connect_args": arguments, "pool_size": 1, "max_overflow": 2, "pool_pre_ping": True}


@contextmanager
def database_errors(url: StorageUrl) -> Iterator[None]:
    """What a database answers, as an error with something to do.

    Raises:
        FileError: it cannot be reached or used.
        UsageError: the driver is not installed.
    """
    try:
        yield
    except ImportError:
        raise UsageError("a shared study needs the PostgreSQL driver", "Install it: pip install 'hwsearch[postgres]'.") from None
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as problem:
        raise unusable(url, problem) from None


def cause(problem: BaseException) -> BaseException:
    """What the driver said, where Optuna wrapped it."""
    return problem.__cause__ if isinstance(problem, StorageInternalError) and problem.__cause__ else problem


def unusable(url: StorageUrl, problem: BaseException) -> FileError:
    """``problem`` as an error with something to do."""
    found = cause(problem)
    reason = (str(getattr(found, "orig", None) or found).strip() or type(found).__name__).splitlines()[0]
    return FileError(
        f"{url}: {url.hide(reason)}",
        "Is the server running, the database there (`createdb`), and the password in PGPASSWORD, ~/.pgpass or --storage?",
    )
