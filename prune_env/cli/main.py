"""The `prune-env` program: finds the command's module, runs it, and turns failures into one sentence."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol, cast

from prune_env import __version__
from prune_env.errors import InterruptedRunError, PruneEnvError, UnknownNameError, nearest

COMMANDS = (
    "victim", "data", "play", "train", "ablate", "compare", "bench", "table", "replay", "purify", "rebuild", "speed",
    "study", "report", "figures", "tabular",
)  # fmt: skip
"""Each is a module of this package with `HELP`, `add_arguments` and `run`; add a command by adding its name."""

_USAGE_ERROR = 2
_INTERRUPTED = 130

_EPILOG = """\
examples:
  prune-env bench --victim tiny-syntactic --methods ft,gradient --seeds 11,12 --out runs/first
  prune-env victim list
  prune-env COMMAND --help
"""


class Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong with the arguments, without the usage; subcommands are of this class too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes options by their whole names alone: `--seed 7` must not pass for `--seeds 7`."""
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Ends the program with the code of a user's error."""
        self.exit(_USAGE_ERROR, f"{self.prog}: error: {' '.join(message.split())}; see {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuses what is left over here, where the command is known whose help lists what there is."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            near = nearest(unknown[0], self._option_string_actions) if unknown[0].startswith("--") else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}; {near}".rstrip("; "))
        return found, unknown


class Command(Protocol):
    """What a command's module offers."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the command's arguments, and its examples as the parser's epilog."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Does the work and returns the exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; None for those of this process.

    Returns:
        The exit code: the command's, 2 for an error the user can mend, 130 after Ctrl-C.
    """
    given = sys.argv[1:] if argv is None else argv
    # Taken out here, so that it may stand anywhere, behind a command's own subcommands too.
    arguments = [word for word in given if word != "--debug"]
    debug = len(arguments) < len(given)
    try:
        return _run(arguments)
    except (PruneEnvError, OSError) as error:
        if debug:
            raise
        print(f"prune-env: error: {_sentence(error)}", file=sys.stderr)  # noqa: T201
        return _INTERRUPTED if isinstance(error, InterruptedRunError) else _USAGE_ERROR
    except KeyboardInterrupt:
        if debug:
            raise
        print(  # noqa: T201
            "\nprune-env: interrupted; what was finished is kept, and the same command again goes on from there",
            file=sys.stderr,
        )
        return _INTERRUPTED


def _run(arguments: list[str]) -> int:
    asked = next((word for word in arguments if not word.startswith("-")), None)
    if asked is not None and asked not in COMMANDS:
        raise UnknownNameError("command", asked, COMMANDS)
    commands = {name: _load(name) for name in ([asked] if asked else COMMANDS)}
    args = _parser(commands).parse_args(arguments)
    return commands[args.command].run(args)


def _load(name: str) -> Command:
    return cast("Command", importlib.import_module(f"prune_env.cli.{name}"))


def _parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    """Builds the parser of these commands: only the one asked for, since each imports its own libraries."""
    style = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="prune-env",
        description="Prune attention heads of backdoored text classifiers, and measure what it removes.",
        epilog=_EPILOG,
        formatter_class=style,
    )
    parser.add_argument("--version", action="version", version=f"prune-env {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in commands.items():
        subparser = subparsers.add_parser(
            name, help=command.HELP, description=_capitalised(command.HELP), formatter_class=style
        )
        command.add_arguments(subparser)
        _add_debug(subparser)
    _add_debug(parser)
    return parser


def _add_debug(parser: argparse.ArgumentParser) -> None:
    """Lists the option in the help; `main` has taken it out of the arguments."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _capitalised(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _sentence(error: Exception) -> str:
    """Returns the error's message on one line."""
    return " ".join(str(error).split()) or type(error).__name__
