"""Limits of control groups, modes of files and advice for shells."""

import resource
import shlex

import psutil
import pytest

from experiments import gemonn, mnist_ga
from experiments.running import comparison, memory, runs
from experiments.running.cli import Interrupted
from experiments.running.run_directory import save_config

GIB = 2**30


def limits(tmp_path, membership, files):
    """The limits for a process with that membership where these files are."""
    for name, content in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    listed = tmp_path / "membership"
    listed.write_text(membership)
    return sorted(memory.cgroup_limits(tmp_path / "cgroup", listed))


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"memory.max": f"{4 * GIB}\n"}, [4 * GIB]),
        ("0::/\n", {"memory.max": "max\n"}, []),
        ("0::/\n", {}, []),
        ("0::/a\n", {"a/memory.high": f"{GIB}", "a/memory.max": f"{2 * GIB}"}, [GIB, 2 * GIB]),
        (
            "0::/a/b\n",
            {"memory.max": "max", "a/memory.max": f"{2 * GIB}", "a/b/memory.max": f"{3 * GIB}"},
            [2 * GIB, 3 * GIB],
        ),
        (
            "5:cpu:/x\n4:hugetlb,memory:/x\n0::/\n",
            {"memory/memory.limit_in_bytes": f"{9 * GIB}", "memory/x/memory.limit_in_bytes": "7"},
            [7, 9 * GIB],
        ),
        ("4:memory:/elsewhere\n", {"memory/memory.limit_in_bytes": f"{9 * GIB}"}, [9 * GIB]),
    ],
)
def test_the_limits_of_all_groups_around_a_process_count(tmp_path, membership, files, expected):
    assert limits(tmp_path, membership, files) == expected


def test_there_are_no_limits_without_control_groups(tmp_path):
    assert not [*memory.cgroup_limits(tmp_path, tmp_path / "missing")]


def test_the_lowest_limit_is_what_is_available(monkeypatch):
    monkeypatch.setattr(memory, "cgroup_limits", lambda: iter([3 * GIB, 2 * GIB]))
    assert memory.available() == int(0.9 * 2 * GIB)
    monkeypatch.setattr(memory, "cgroup_limits", lambda: iter([10**18]))
    assert 10**8 < memory.available() < 10**17


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_what_ulimit_leaves_to_the_process_is_available(kind, monkeypatch):
    used = psutil.Process().memory_info()
    assert not [*memory.process_limits()]
    limits = {getattr(resource, kind): 100 * GIB}
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda number: (limits.get(number, unlimited), 0))
    (left,) = memory.process_limits()
    taken = used.vms if kind == "RLIMIT_AS" else used.data
    assert abs(100 * GIB - GIB // 2 - taken - left) < GIB / 8
    limits[getattr(resource, kind)] = 1
    assert memory.available() == 0


@pytest.mark.parametrize("run", ["small_run", "front_run"])
def test_all_files_of_a_run_have_the_usual_mode(run, request, tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    files = [path for path in request.getfixturevalue(run).rglob("*") if path.is_file()]
    assert len(files) >= 8
    assert {path.stat().st_mode for path in files} == {usual.stat().st_mode}


def test_advice_quotes_a_path_for_the_shell(tmp_path):
    given = type("Given", (), {"out": tmp_path / "my 'own' runs"})
    with (
        pytest.raises(Interrupted) as caught,
        comparison.open_directory(given, "gemonn-compare") as directory,
    ):
        (directory / "ladder-0").mkdir()
        raise KeyboardInterrupt
    words = shlex.split(str(caught.value).partition("resume with ")[2])
    assert words[-2:] == ["--out", str(given.out)]


@pytest.mark.parametrize("name", ["mnist_ga", "gemonn"])
def test_advice_on_resuming_quotes_a_path_for_the_shell(name, tmp_path, monkeypatch):
    def interrupted(training, config, dataset, directory, hosts):
        save_config(config, directory / "config.json")
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "run_seeds", interrupted)
    directory = tmp_path / "my 'own' run"
    main = {"mnist_ga": mnist_ga.main, "gemonn": gemonn.main}[name]
    with pytest.raises(Interrupted) as caught:
        main(["--out", str(directory), "--quiet"])
    words = shlex.split(str(caught.value).partition("resume with: ")[2])
    assert words == ["python", "-m", f"experiments.{name}", "--resume", str(directory)]
