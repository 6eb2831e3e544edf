"""What the README shows runs as it stands there."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_there_are_snippets():
    assert SNIPPETS


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet_runs(snippet, tmp_path, monkeypatch, few_digits):
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {})


def test_pictures_and_folders_it_names_exist():
    root = Path(__file__).parents[1]
    named = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert named and all((root / name).exists() for name in named)
