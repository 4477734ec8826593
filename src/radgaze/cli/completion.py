"""`radgaze completion SHELL`: the script by which a shell completes verbs, options and their values."""

from __future__ import annotations

from argparse import SUPPRESS, Action, Namespace
from collections.abc import Iterator, Mapping
from shlex import quote

from radgaze.cli.parser import Parser

HELP = "Print the script by which a shell completes verbs, sources, options and names."
EXAMPLE = "radgaze completion bash > ~/.local/share/bash-completion/completions/radgaze"

SHELLS = {
    "bash": 'eval "$(radgaze completion bash)", in ~/.bashrc',
    "zsh": 'eval "$(radgaze completion zsh)", in ~/.zshrc after compinit',
    "fish": "radgaze completion fish > ~/.config/fish/completions/radgaze.fish",
}
"""How the script of each shell is used."""

DEVICES = ("auto", "cpu", "cuda", "mps")
LONGEST = 90
"""Characters of a description in fish."""


def add_arguments(parser: Parser) -> None:
    shown = "; ".join(f"{name}: {how}" for name, how in SHELLS.items())
    parser.add_argument("shell", metavar="SHELL", choices=tuple(SHELLS), help=shown)


def run(args: Namespace) -> int:
    from radgaze.console import put

    script = {"bash": bash, "zsh": zsh, "fish": fish}[args.shell]()
    put(script, lines=True)
    return 0


def commands() -> dict[str, Parser]:
    """The parser of each verb, "train", and of each source, "prepare egd"."""
    from radgaze.cli import VERBS, build_parser
    from radgaze.sources.registry import SOURCES

    words = [*([verb] for verb in VERBS), *(["prepare", source] for source in SOURCES)]
    parsers = dict[str, Parser]()
    for names in words:
        parser: Parser | None = build_parser(names)
        for name in names:
            parser = None if parser is None else parser.parser_of(name)
        assert parser is not None
        parsers[" ".join(names)] = parser
    return parsers


def options(parser: Parser) -> dict[str, Action]:
    """The arguments of a parser that its help shows, by their long options."""
    return {
        option: action
        for action in parser._actions
        if action.help != SUPPRESS
        for option in action.option_strings
        if option.startswith("--")
    }


def values(option: str, action: Action) -> tuple[str, ...]:
    """The values that an option can have, where these are names that are known."""
    from radgaze import experiments
    from radgaze.methods import GROUPS, METHODS, generators
    from radgaze.options import literal

    known: Mapping[str, tuple[str, ...]] = {
        "--experiment": experiments.names(),
        "--device": DEVICES,
        "--methods": (*GROUPS, *METHODS),
        "--generator": generators(),
        "--objective.heatmap.generator": generators(),
    }
    if option in known:
        return known[option]
    choices = action.choices or literal(getattr(action, "_typehint", None))
    return tuple(map(str, choices))


def bash() -> str:
    """The script for bash."""
    found = commands()
    verbs = [name for name in found if " " not in name]
    of_verbs = [
        f"        {quote(name)}) echo {quote(' '.join(options(parser)))} ;;" for name, parser in found.items()
    ]
    of_values = [
        f"        {quote(f'{name} {option}')}) echo {quote(' '.join(names))} ;;"
        for name, parser in found.items()
        for option, action in options(parser).items()
        if (names := values(option, action))
    ]
    sources = " ".join(name.removeprefix("prepare ") for name in found if name.startswith("prepare "))
    return "\n".join(
        [
            "_radgaze_options() {",
            '    case "$1" in',
            *of_verbs,
            "    esac",
            "}",
            "_radgaze_values() {",
            '    case "$1" in',
            *of_values,
            "    esac",
            "}",
            "_radgaze() {",
            '    local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"',
            '    local verb="" word i names',
            "    for ((i = 1; i < COMP_CWORD; i++)); do",
            '        word="${COMP_WORDS[i]}"',
            '        if [[ -z "$verb" && "$word" != -* ]]; then verb="$word"',
            f'        elif [[ "$verb" == prepare && " {sources} " == *" $word "* ]]; then',
            '            verb="prepare $word"',
            "        fi",
            "    done",
            '    names="$(_radgaze_values "$verb $before")"',
            '    if [[ -n "$names" ]]; then :',
            f'    elif [[ -z "$verb" ]]; then names="{" ".join(verbs)} --help --version --plugin"',
            '    elif [[ "$current" == -* ]]; then names="$(_radgaze_options "$verb") --plugin"',
            f'    elif [[ "$verb" == prepare ]]; then names="{sources}"',
            '    elif [[ "$verb" == experiments || "$verb" == init ]]; then',
            '        names="$(_radgaze_values "train --experiment")"',
            "    fi",
            '    COMPREPLY=($(compgen -W "$names" -- "$current"))',
            "}",
            "complete -o default -F _radgaze radgaze",
        ]
    )


def zsh() -> str:
    """The script for zsh, which takes that of bash."""
    return f"autoload -U +X bashcompinit && bashcompinit\n{bash()}"


def fish() -> str:
    """The script for fish."""
    return "\n".join(_of_fish(commands()))


def _of_fish(found: Mapping[str, Parser]) -> Iterator[str]:
    from radgaze.cli import VERBS
    from radgaze.sources.registry import SOURCES

    yield "complete -c radgaze -l plugin -r -d 'module that adds to radgaze'"
    for name, about in VERBS.items():
        yield f"complete -c radgaze -f -n __fish_use_subcommand -a {name} -d {_fish(about)}"
    for name, about in SOURCES.items():
        yield (f"complete -c radgaze -f -n '__fish_seen_subcommand_from prepare' -a {name} -d {_fish(about)}")
    for command, parser in found.items():
        name = command.split()[-1]
        for option, action in options(parser).items():
            names = values(option, action)
            takes = "" if action.nargs == 0 else f" -x -a {_fish(' '.join(names))}" if names else " -r"
            yield (
                f"complete -c radgaze -n '__fish_seen_subcommand_from {name}' -l {option[2:]}{takes} "
                f"-d {_fish(_short(action.help))}"
            )


def _short(text: str | None) -> str:
    """The first words of a help."""
    words = " ".join((text or "").split()).replace("%%", "%").split(" (default")[0].split(". ")[0]
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def _fish(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
