"""The application: what every command shares, and how every ending becomes an exit code.

0 done, 1 a bug of ours, 2 usage, 3 a file that cannot be used, 4 no plan meets the budget, 5 a plan disagrees with its
export: it is not proven, 130 interrupted. With ``--json`` an error is the one document on stdout:
``{"error": {"code", "kind", "message", "hint"}}``.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer
from typer.main import get_command

from hwmodels.errors import FileError, HwsearchError
from hwmodels.parts import elsewhere, plugins, settings
from hwsearch.cli import terminal
from hwsearch.cli.commands import catalogue, estimate, export, front, inspect, optimize, plans, questions, worker
from hwsearch.documents.files import DISK_FULL
from hwsearch.documents.url import redacted
from hwsearch.documents.versions import __version__
from hwsearch.runs.interrupted import Interrupted, resume_command

TRACEBACK = "HWSEARCH_TRACEBACK"
"""Environment variable; when it is set, a bug of ours shows where it happened."""
COLLECT_AFTER = 50_000
"""Objects made more than freed after which Python looks for circles of unused ones (700 unless told)."""
_CLICK_ERROR: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""The base of all parse errors; typer carries its own copy of click in some versions and not in others."""

# What is left when the process ends, the system takes back: one last search of torch's million objects for circles, which Python
# makes unless they are set aside, costs 1.5 to 2 s after the last word is printed.
atexit.register(gc.freeze)

app = typer.Typer(
    name="hwsearch",
    help="Per-layer bit-widths for super-resolution networks that fit a device, proven in integers.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: hwsearch optimize --target jetson",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hwsearch {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    plugin: list[Path] = typer.Option(  # noqa: B008  as typer wants it
        [],
        help="Parts of your own (repeatable, before the command): a Python file, which is executed, or a device file.",
        metavar="FILE",
        show_default=False,
    ),
) -> None:
    plugins.use([*settings.plugin_folders(), *plugin])


optimize.register(app)
estimate.register(app)
questions.register(app)
front.register(app)
worker.register(app)
export.register(app)
plans.register(app)
inspect.register(app)
catalogue.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    # Layers here are small: threads that spin at a barrier on a busy machine cost far more than waking them up does.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Importing torch and tracing make a million objects that stay: looking for circles among them takes a tenth of a short run.
    gc.set_threshold(COLLECT_AFTER)
    terminal.settle_streams()
    alone = as_json and not {"--help", "-h"} & set(words)
    try:
        with _ended_politely(), terminal.document_alone() if alone else contextlib.nullcontext():
            return _ended(words, as_json)
    except BrokenPipeError:
        _drop_output()
        return 0
    except OSError as error:  # not even an error could be said on stdout
        _drop_output()
        return _refused_by_the_system(error, as_json=False)


def _ended(words: list[str], as_json: bool) -> int:
    """Run, and say how it ended."""
    try:
        _check_folder()
        with _heard(quiet=bool({"--quiet", "-q"} & set(words))):
            return _run(words)
    except HwsearchError as error:
        terminal.report_error(error, as_json)
        return error.exit_code
    except Interrupted as stopped:
        command = resume_command(stopped.run_dir, stopped.model)
        hint = f"Nothing that was measured is lost. Go on with:\n  {command}"
        terminal.report("Interrupted", "interrupted", hint, 130, as_json, run_dir=str(stopped.run_dir), resume=command)
        return 130
    except KeyboardInterrupt:
        terminal.report(
            "Interrupted", "interrupted", "Nothing was begun that could be resumed; run the command again.", 130, as_json
        )
        return 130
    except BrokenPipeError:
        raise
    except OSError as error:
        if os.environ.get(TRACEBACK):
            terminal.aside(redacted(traceback.format_exc()))
        if error.filename is None and error.errno in (*DISK_FULL, errno.EBADF, errno.EIO):
            raise  # the result itself could not be written
        return _refused_by_the_system(error, as_json)
    except Exception as error:
        return _unexpected(error, as_json)


def _check_folder() -> None:
    """Raises FileError where the current folder was deleted: paths mean nothing there, and torch's libraries end the process."""
    try:
        Path.cwd()
    except OSError:
        raise FileError("the current folder is gone", "Change to another one: cd.") from None


def _refused_by_the_system(error: OSError, as_json: bool) -> int:
    """A file, a folder or an output that cannot be used, and that no command answered for itself."""
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    if error.filename is None:
        hint = "Free some space, or send the output somewhere else."
        terminal.report("FileError", f"the output cannot be written: {reason}", hint, 3, as_json)
    else:
        hint = "Check that the file is there, and that you may use it."
        terminal.report("FileError", f"{os.fsdecode(error.filename)}: {reason}", hint, 3, as_json)
    return 3


def _drop_output() -> None:
    """Nobody reads on: what is left in the buffer goes nowhere, or Python would try once more when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _ended_politely() -> Iterator[None]:
    """A batch system that ends a job, or a terminal that is closed, is a person who presses Ctrl-C; ``nohup`` stays in force."""
    before: dict[signal.Signals, object] = {}

    def stop(signal_number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)):
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # a handler that signal itself gave


class _Aside(logging.Handler):
    """Log records as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        terminal.LOGGED.add(text)
        terminal.aside(text)


@contextmanager
def _heard(quiet: bool) -> Iterator[None]:
    """Warnings of our packages go to stderr; those of libraries are not for the person at the terminal."""
    handler = _Aside()
    terminal.LOGGED.clear()
    loggers = [logging.getLogger(package) for package in ("hwmodels", "searchspaces", "hwsearch")]
    before = [(logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.ERROR if quiet else logging.WARNING)
    try:
        with warnings.catch_warnings():
            if not os.environ.get(TRACEBACK):
                warnings.simplefilter("ignore")
            yield
    finally:
        for logger, (propagate, level) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagate
            logger.setLevel(level)


def _run(words: list[str]) -> int:
    try:
        with get_command(app).make_context("hwsearch", list(words), obj=tuple(words)) as context:
            context.command.invoke(context)
            terminal.stdout().flush()
    except typer.Exit as ending:
        return int(ending.exit_code)
    except _CLICK_ERROR as error:
        _parse_error(error, "--json" in words)
        return 2
    return 0


def _parse_error(error: Exception, as_json: bool) -> None:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "hwsearch"
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if not message:  # no command was given: the help has been printed
        return
    terminal.report("UsageError", message, f"`{path} --help` lists what is allowed.", 2, as_json)


def _unexpected(error: Exception, as_json: bool) -> int:
    if isinstance(error, MemoryError):
        hint = "Try a smaller --input or smaller pictures."
        terminal.report("MemoryError", "this machine does not have enough memory", hint, 1, as_json)
        return 1
    if os.environ.get(TRACEBACK):
        terminal.aside(redacted(traceback.format_exc()))
    if (place := elsewhere.place_of(error)) is not None:
        told = elsewhere.failed(error, place)
        terminal.report_error(told, as_json)
        return told.exit_code
    used = [plugin.path.name for plugin in plugins.in_use() if plugin.path.suffix == ".py"]
    giver = f", or comes of what {' or '.join(used)} gave" if used else ""
    message = f"this is a bug in hwsearch{giver} ({type(error).__name__}: {error})"
    judged = f"{elsewhere.advice('check_...')} " if used else ""
    hint = f"{judged}Set {TRACEBACK}=1 to see where it happened, and please report it."
    terminal.report(type(error).__name__, message, hint, 1, as_json)
    return 1
