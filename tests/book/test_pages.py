"""What the README and the book show runs as it stands there."""

import doctest
import importlib.util
import re
import shlex
import tomllib
from functools import partial

import numpy as np
import pages
import pytest
from safetensors.numpy import save_file

from experiments.running.cli import CommandParser, InputError

KINDS = {"python", "pycon", "bash", "console", "{toctree}"}
PROGRAMS = {"pip", "python", "pytest", "ruff", "pyright", "sphinx-build"}
PROJECT = tomllib.loads((pages.ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
SHELL = [block for page in pages.PAGES for block in pages.blocks(page, "bash")]
LINES = sorted({line for block in SHELL for line in pages.commands(block)})
EXPERIMENTS = [line for line in LINES if line.startswith("python -m experiments.")]
of_page = partial(pytest.mark.parametrize, "page", ids=pages.name_of)


class Stop(Exception):
    """Ends a command where its command line has been found right."""


def stop(*arguments, **options):
    raise Stop


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a run of default settings."""
    (tmp_path / "runs" / "RUN").mkdir(parents=True)
    (tmp_path / "runs" / "RUN" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def main_of(words):
    """The main function of `python -m words[2]`."""
    module = "command" if words[2] in ("experiments.benchmark", "experiments.datasets") else ""
    return importlib.import_module(f"{words[2]}.{module}".rstrip(".")).main


@of_page(pages.PAGES)
def test_every_block_is_of_a_kind_that_is_run(page):
    included = {kind for kind in pages.languages(page) if kind.startswith("{literalinclude}")}
    assert pages.languages(page) - included <= KINDS


@of_page(pages.with_block("python"))
def test_python_runs(page, tmp_path, monkeypatch, few_digits):
    monkeypatch.chdir(tmp_path)
    exported = {"blocks_0/kernel": np.ones((784, 500)), "blocks_0/hidden_bias": np.ones(500)}
    save_file(exported, "knee.safetensors")  # what `export --knee` writes
    namespace = {"__name__": "__main__"}
    for block in pages.blocks(page, "python"):
        exec(compile(block, str(page), "exec"), namespace)


@of_page(pages.with_block("pycon"))
def test_sessions_give_what_they_show(page):
    text = "\n".join(pages.blocks(page, "pycon"))
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    assert len(test.examples) > 5
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("line", EXPERIMENTS)
def test_command_lines_are_accepted(line, folder, monkeypatch, capsys):
    words = shlex.split(line)
    if "examples" in words[2]:  # which tests/test_examples.py runs
        assert importlib.util.find_spec(words[2])
        return
    from experiments.autoencoder import compare as of_autoencoders
    from experiments.classify import command as classify
    from experiments.front import compare as of_fronts
    from experiments.running import distributed

    # The settings have been checked before any of these is called.
    monkeypatch.setattr(distributed, "together", stop)
    for module in (of_autoencoders, of_fronts, classify):
        monkeypatch.setattr(module, "load", stop)
    parse = CommandParser.parse_args
    monkeypatch.setattr(
        CommandParser, "parse_args", lambda self, words: parse(self, words) and stop()
    )
    parsed_alone = "--resume" in words or words[2] == "experiments.benchmark"
    with pytest.raises((Stop, SystemExit)) as ended:
        main_of(words)([*words[3:], *["--help"] * parsed_alone])
    assert ended.type is Stop or (parsed_alone and ended.value.code == 0)


def test_a_wrong_flag_is_not_accepted(folder):
    with pytest.raises(InputError):
        main_of(["", "", "experiments.benchmark"])(["--quik", "--help"])


def test_other_command_lines_name_what_there_is():
    assert {line.split()[0] for line in LINES} <= PROGRAMS
    installed = " ".join(line for line in LINES if line.startswith("pip install"))
    named = {*re.findall(r"\[(\w+)\]", installed)}
    assert named and named <= {*EXTRAS}


@of_page(pages.with_block("console"))
def test_messages_of_commands_are_those_shown(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DIR").mkdir()
    for block in pages.blocks(page, "console"):
        shown = re.findall(r"^\$ (.*)\n(\w+): error: (.*)$", block, flags=re.MULTILINE)
        assert len(shown) == block.count("$ ")
        for line, program, message in shown:
            words = shlex.split(line)
            assert words[2] == f"experiments.{program}"
            with pytest.raises(InputError) as refused:
                main_of(words)(words[3:])
            assert str(refused.value) == message


@of_page(pages.PAGES)
def test_what_it_links_to_exists(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text())
    assert not [target for target in targets if not (page.parent / target).exists()]


def test_the_readme_is_short_and_leads_into_the_book():
    readme = (pages.ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    assert "](notebooks/" in readme
