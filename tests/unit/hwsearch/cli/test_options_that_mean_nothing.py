"""Options that would mean nothing where they stand are refused, not passed over."""

from __future__ import annotations

import json

import pytest

from hwsearch.cli import main

NETWORK = ("--network", "fsrcnn")
SEVERAL = ("--target", "jetson", "--target", "stm32h743")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["estimate", *NETWORK, "--plan", "W8A8", "--allow-edited"], "--allow-edited is for a plan file"),
        (["estimate", *NETWORK, "--branches", "auto"], "--branches auto is for `hwsearch optimize`"),
        (["estimate", *NETWORK, "--branches", "complexity"], "--branches complexity looks at pictures"),
        (["estimate", *NETWORK, "--drop", "auto"], "--drop auto is for `hwsearch optimize`"),
        (["estimate", *NETWORK, "--arg", "d=32", "--drop", "auto"], "--drop auto is for `hwsearch optimize`"),
        (["proxies", "compare", *NETWORK, "--drop", "auto"], "--drop auto is for `hwsearch optimize`"),
        (["methods", "compare", *NETWORK, "--branches", "auto"], "--branches auto is for `hwsearch optimize`"),
        (["allocators", "compare", *NETWORK, "--branches", "auto"], "--branches auto is for `hwsearch optimize`"),
        (["optimize", *NETWORK, *SEVERAL, "--drop", "auto"], "--drop auto searches for one device"),
        (
            ["optimize", *NETWORK, *SEVERAL, "--branches", "auto", "--branches", "mid_part.0=2"],
            "--branches auto searches for one",
        ),
        (["devices", "calibrate", "jetson", "--measurements", "x.csv", "--threads", "4"], "--threads is for `host`"),
    ],
)
def test_they_are_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--json", "--quiet"]) == 2
    assert said in json.loads(capsys.readouterr().out)["error"]["message"]
