"""The help lists commands and flags, in groups and in whole phrases."""

import dataclasses
import re

import pytest

from experiments import gemonn, mnist_ga
from experiments.autoencoder.compare import CompareConfig
from experiments.classify.config import ClassifyConfig
from experiments.front.compare import CompareConfig as FrontCompareConfig
from experiments.running import help

CONFIGS = [gemonn.Config, mnist_ga.Config, CompareConfig, FrontCompareConfig, ClassifyConfig]


def printed(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        (gemonn if arguments[0] == "gemonn" else mnist_ga).main([*arguments[1:], "--help"])
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("program", "commands"),
    [("gemonn", ["export", "compare", "classify"]), ("mnist_ga", ["predict", "compare"])],
)
def test_commands_and_groups_are_listed_the_common_flags_first(program, commands, capsys):
    text = printed(capsys, program)
    listed = text[text.index("commands:") :]
    for command in commands:
        assert re.search(rf"^  {command} +[A-Z].*\.$", listed, re.MULTILINE)
    titles = re.findall(r"^(.+):$", text, re.MULTILINE)
    assert titles[0] == "common options" and titles[-1] == "commands" and len(titles) >= 6
    assert text.index("--dataset") < text.index("--batch-size") < text.index("--processes")


@pytest.mark.parametrize("words", [["gemonn"], ["mnist_ga"], ["gemonn", "compare"]])
def test_no_default_is_shown_where_there_is_none(words, capsys):
    text = printed(capsys, *words)
    assert "None)" not in text and "(default: 1" in text


def test_the_defaults_are_those_of_the_preset(capsys):
    text = printed(capsys, "gemonn", "--preset", "paper")
    assert "(default: 500)" in text and "(default: 1.5e+06)" not in text


@pytest.mark.parametrize("config", CONFIGS)
def test_every_flag_is_in_a_group_and_described(config, capsys):
    help.show(config(), "program", "A program.")
    text = capsys.readouterr().out
    texts = help.descriptions(config)
    for field in dataclasses.fields(config):
        assert (
            len(re.findall(rf"^  --{field.name.replace('_', '-')}(?= |$)", text, re.MULTILINE)) == 1
        )
        assert len(texts[field.name].split()) >= 2
    assert "other options" not in text
