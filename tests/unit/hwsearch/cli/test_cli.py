"""The command line: start-up, catalogues, prices, errors as text and as JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from rich.text import Text

from hwmodels.device import catalogue, device
from hwmodels.errors import UsageError, closest
from hwsearch import cli as main_module
from hwsearch.cli import main, notations, options, terminal
from hwsearch.cli.app import app
from hwsearch.cli.commands import devices as commands
from hwsearch.formats.reading import readers
from hwsearch.formats.running import runtimes

HEAVY = ("torch", "numba", "matplotlib", "onnx", "onnxruntime", "optuna", "scipy")


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The document that a command prints with --json."""
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> dict[str, Any]:
    """The error that a command ends with, having said the same with and without --json."""
    assert main(list(words)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert main([*words, "--json"]) == code
    error: dict[str, Any] = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == code
    assert error["message"] in err
    assert error["hint"] in err
    return error


def _helps(command: click.Command) -> Iterator[tuple[str, str]]:
    """Command or option -> its help, of a command and all below it."""
    yield str(command.name), command.help or ""
    for option in command.params:
        yield f"{command.name} {option.name}", getattr(option, "help", None) or ""
    for inner in getattr(command, "commands", {}).values():
        yield from _helps(inner)


def test_no_help_holds_what_is_taken_for_markup() -> None:
    """Words in brackets are swallowed as the name of a style."""
    eaten = {name for name, said in _helps(typer.main.get_command(app)) if Text.from_markup(said).plain != said}
    assert not eaten


@pytest.mark.parametrize("words", [["--help"], ["devices"], ["optimize", "--help"], ["proxies"], ["exporters"]])
def test_light_commands_import_nothing_heavy(words: list[str]) -> None:
    script = f"import sys; from hwsearch.cli import main; code = main({words!r}); print(code, *sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    code, *modules = done.stderr.split()
    assert code == "0"
    assert not set(HEAVY) & set(modules)


def test_help_shows_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for command in main_module.app.registered_commands:
        assert command.callback is not None
        assert command.callback.__name__ in text
    assert "devices" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hwsearch 0.")


@pytest.mark.parametrize("words", [["devices"], ["devices", "list"]])
def test_devices_are_listed(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert [entry["name"] for entry in answer(capsys, *words)["devices"]] == catalogue.names()
    assert main(words) == 0
    assert "jetson-orin-nano" in capsys.readouterr().out


def test_a_device_shows_every_number_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    shown = answer(capsys, "devices", "show", "jetson")
    assert shown["name"] == "jetson-orin-nano"
    assert [fact["key"] for fact in shown["facts"]] == [key for key, _ in catalogue.load("jetson").quantities()]
    assert main(["devices", "show", "jetson"]) == 0
    text = capsys.readouterr().out
    assert "assumed" in text
    assert "GB/s" in text


def test_device_files_are_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    board = tmp_path / "board.toml"
    board.write_text((Path(device.__file__).parents[1] / "devices" / "stm32h743.toml").read_text())
    assert answer(capsys, "devices", "check", str(board))["valid"] is True
    board.write_text(board.read_text().replace("[rates]", "[rats]"))
    error = refusal(capsys, 3, "devices", "check", str(board))
    assert "rats" in error["message"]
    assert "rates" in error["message"]
    assert "schema" in error["hint"]


def test_the_schema_of_device_files_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert "properties" in answer(capsys, "devices", "schema")


@pytest.mark.parametrize(("words", "key"), [(["networks"], "networks"), (["proxies"], "proxies"), (["exporters"], "exporters")])
def test_catalogues_in_both_forms(capsys: pytest.CaptureFixture[str], words: list[str], key: str) -> None:
    entries = answer(capsys, *words)[key]
    assert entries
    assert main(words) == 0
    text = capsys.readouterr().out
    assert all(entry["name"] in text for entry in entries)


def test_operations_of_own_networks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "pixel_shuffle" in answer(capsys, "networks", "--operations")["operations"]


def test_estimate_prices_layer_by_layer(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("estimate", "--network", "fsrcnn", "--target", "stm32h743", "--plan", "W4A8", "--input", "24x32")
    price = answer(capsys, *words)
    layers = price["layers"]
    assert price["input"] == [24, 32]
    assert set(price["weight_bits"].values()) == {4}
    assert sum(layer["latency_s"] for layer in layers) <= price["predicted"]["latency_s"] * (1 + 1e-6)
    assert sum(layer["weight_bytes"] for layer in layers) == price["predicted"]["weight_bytes"]
    assert main(list(words)) == 0
    text = capsys.readouterr().out
    assert "runs as" in text
    assert all(layer["name"] in text for layer in layers)


def test_estimate_says_what_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("estimate", "--network", "edsr", "--target", "stm32l4r5", "--input", "96x128")
    assert answer(capsys, *words)["exceeded"] == ["peak_activation_bytes"]
    assert main(list(words)) == 0
    assert "does not fit" in capsys.readouterr().out


def test_estimate_says_which_widths_became_others(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("estimate", "--target", "jetson", "--plan", "W4A8")
    remarks = answer(capsys, *words)["remarks"]
    assert "all 8 layers get 8 bits: 4 bits are not available there" in remarks
    assert main(list(words)) == 0
    assert "all 8 layers" in capsys.readouterr().err
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimise"], "optimi"),
        (["devices", "show", "jetsn"], "jetson"),
        (["estimate", "--network", "fsrcn"], "fsrcnn"),
        (["estimate", "--plan", "W9A9"], "W4A8"),
        (["estimate", "--plan", "FP32", "--target", "stm32h743"], "16"),
        (["estimate", "--input", "360"], "HxW"),
        (["estimate", "--input", "0x640"], "HxW"),
        (["estimate", "--nonsense", "1"], "--help"),
        (["estimate", "--arg", "d"], "d=32"),
        (["estimate", "--arg", "depth=3"], "d"),
        (["estimate", "--scale", "7"], "2, 3, 4"),
        (["estimate", "--network", "fsrcnn", "--model", "x.py:y"], "one of them"),
        (["estimate", "--model", "x.py"], "file.py:callable"),
        (["optimize", "--budget", "latency=8MB"], "ms"),
        (["optimize", "--scope", "head"], "body"),
        (["optimize", "--pin", "first"], "first_part.0=8"),
        (["optimize", "--pin", "a=1", "--pin", "a=2"], "one of them"),
        (["optimize", "--weight-bits", "four"], "2,4,8"),
        (["optimize", "--evaluations", "0"], "--help"),
        (["optimize", "--resume", "run", "--out", "other"], "stays"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_is_allowed(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    error = refusal(capsys, 2, *words)
    assert said in error["hint"] + error["message"]


def test_a_bug_of_ours_exits_1_and_tells_how_to_see_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> list[str]:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(catalogue, "names", broken)
    monkeypatch.delenv("HWSEARCH_TRACEBACK", raising=False)
    error = refusal(capsys, 1, "devices")
    assert "HWSEARCH_TRACEBACK=1" in error["hint"]
    monkeypatch.setenv("HWSEARCH_TRACEBACK", "1")
    assert main(["devices"]) == 1
    assert "in broken" in capsys.readouterr().err


def test_ctrl_c_before_a_run_exits_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "names", interrupted)
    assert refusal(capsys, 130, "devices")["kind"] == "Interrupted"


def test_a_closed_pipe_is_no_bug() -> None:
    command = f"{sys.executable} -m hwsearch devices show jetson | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


def test_tables_keep_markup_of_names_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.people().print(terminal.table(("a", "b"), [("[red]x[/]", "1")]))
    assert "[red]x[/]" in capsys.readouterr().out


def test_arguments_become_numbers_and_booleans() -> None:
    read = notations.read_arguments(["d=32", "res_scale=0.1", "activation=prelu", "bias=true"])
    assert read == {"d": 32, "res_scale": 0.1, "activation": "prelu", "bias": True}


def test_an_argument_of_two_values_is_refused() -> None:
    with pytest.raises(UsageError, match="--arg gives 'd' two values"):
        notations.read_arguments(["d=32", "m=1", "d=16"])


def test_an_option_of_shared_studies_means_nothing_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["optimize", "--grace", "5"]) == 2
    assert "--grace is for studies that workers share" in capsys.readouterr().err


def test_known_names_are_listed_once() -> None:
    assert closest("nothing", ["tail", "head", "tail"]) == "Known: head, tail."


def test_long_lists_of_precisions_are_shortened() -> None:
    assert commands._brief(["W8A8", "FP16"]) == "W8A8 FP16"
    assert commands._brief([f"W{i}A8" for i in range(1, 9)]) == "8 of them, up to W8A8"


def test_help_names_every_model_file_and_runtime() -> None:
    """What the help of options has written down is what there is."""
    assert sorted(options.MODEL_FILES.split(", ")) == sorted(readers.endings())
    assert ", ".join(f"{part.name} ({part.value.summary})" for part in runtimes.built_in()) == options.RUNTIMES
