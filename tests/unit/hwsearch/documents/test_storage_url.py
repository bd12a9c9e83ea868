"""Addresses of databases: what is read from them, and that no password gets out."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.errors import UsageError
from hwsearch.cli import main
from hwsearch.documents.files import jsonable
from hwsearch.documents.url import StorageUrl, redacted
from hwsearch.problem.request import Request


@pytest.mark.parametrize(
    ("text", "shown", "secrets"),
    [
        ("postgresql://me@db/search", "postgresql://me@db/search", {}),
        ("postgresql://me:x%2Fy@db:5433/search", "postgresql://me@db:5433/search", {"password": "x/y"}),
        ("postgres://me:a@b@[::1]:5432/s", "postgresql://me@[::1]:5432/s", {"password": "a@b"}),
        ("postgresql+psycopg:///s?host=/run/pg&password=p", "postgresql:///s?host=/run/pg", {"password": "p"}),
        ("postgresql://db/s?sslmode=require&sslpassword=k", "postgresql://db/s?sslmode=require", {"sslpassword": "k"}),
    ],
)
def test_an_address_is_taken_apart(text: str, shown: str, secrets: dict[str, str]) -> None:
    url = StorageUrl.read(text)
    assert (url, url.secrets) == (shown, secrets)
    assert StorageUrl.read(url) is url


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///tresor.db",
        "mysql://me:tresor@db/s",
        "tresor",
        "postgresql://me:tresor@db",
        "postgresql://me:tre/sor@db/s",
        "postgresql://me:tre/sor?x@db/s",
        "postgresql://me:tresor/s",
        "me:tresor@db/s",
    ],
)
def test_what_cannot_be_read_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        StorageUrl.read(text)
    assert "tresor" not in str(refused.value)
    assert "postgresql://USER@HOST/DATABASE" in refused.value.hint


@given(password=st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=3, max_size=12).map(lambda s: f"Q{s}Q"))
def test_no_text_made_of_a_request_has_its_password(password: str) -> None:
    text = f"postgresql://me:{quote(password, safe='')}@db.local/search"
    request = Request(storage=text, study="s")
    assert StorageUrl.read(request.storage or "").secrets == {"password": password}
    for made in (str(request), json.dumps(jsonable(request)), f"{request.storage}", repr(request.storage)):
        assert password not in made
        assert quote(password, safe="") not in made
    assert password not in redacted(f"cannot reach {text}, sorry")
    assert quote(password, safe="") not in redacted(f"cannot reach {text}, sorry")


def test_messages_of_the_command_line_show_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever a person puts the address, and whatever complains about it."""
    url = "postgresql://me:tresor@127.0.0.1:1/search"
    for words, code in (
        (["worker", url, "--study", "s"], 2),
        (["worker", "--storage", url], 2),
        (["optimize", "--storage", url], 2),
        (["optimize", url], 2),
        (["worker", "--storage", url, "--study", "s", "--idle", "0", "--quiet"], None),
        (["worker", "--storage", url, "--study", "s", "--idle", "0", "--quiet", "--json"], None),
    ):
        assert main(words) in ({code} if code else {2, 3})  # 2: no driver here; 3: nobody listens there
        said = capsys.readouterr()
        assert "tresor" not in said.out + said.err
        assert said.out + said.err
