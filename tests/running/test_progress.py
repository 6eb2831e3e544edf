"""Progress on a terminal, in a log file and where it is quiet."""

import io
import re
import time

import pytest
from rich.console import Console

from experiments.running import progress
from experiments.running.progress import Progress


class Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "monotonic", clock)
    return clock


def log() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=40)


def terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setenv("TERM", "xterm")
    return Console(file=io.StringIO(), force_terminal=True, width=width)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def update(display: Progress, generation: int, fraction: float, phase: str = "layer 1/4") -> None:
    display.update(
        phase=phase,
        generation=generation,
        generations=3,
        fraction=fraction,
        metrics={"best RMSE": "0.031", "median": "0.034", "examples/s": "12,345"},
        remaining=34.0,
    )


def test_log_has_plain_lines(clock: Clock):
    console = log()
    with Progress(console=console) as display:
        display.message("loading [mnist] :smile: in a line that is longer than the console is wide")
        update(display, 0, 0.1)
        clock.now += 5
        update(display, 1, 1 / 3)
        with display.status("fitting the SVM"):
            clock.now += 5
    assert written(console).splitlines() == [
        "loading [mnist] :smile: in a line that is longer than the console is wide",
        "layer 1/4  generation 1/3  best RMSE 0.031  median 0.034  examples/s 12,345"
        "  elapsed 0:00:05  left 0:00:34",
        "fitting the SVM",
    ]


def test_title_stands_before_every_phase(clock: Clock):
    console = log()
    with Progress(console=console, title="seed 4: ") as display:
        clock.now += 20
        update(display, 1, 0.5)
        with display.status("fitting"):
            pass
    lines = written(console).splitlines()
    assert len(lines) == 2 and all(line.startswith("seed 4: ") for line in lines)


def test_log_lines_come_at_the_right_times(clock: Clock):
    console = log()
    counts = []
    with Progress(console=console) as display:
        for seconds, generation, phase in [
            (0.5, 1, "layer 1/2"),  # sooner than a second after the start
            (0.6, 1, "layer 1/2"),  # a line
            (5.0, 1, "layer 1/2"),  # within a generation
            (5.0, 1, "layer 1/2"),  # a line after 10 s
            (0.1, 2, "layer 1/2"),  # too soon
            (0.1, 3, "layer 1/2"),  # a line: the last generation
            (0.1, 3, "layer 1/2"),  # not again
            (0.1, 1, "layer 2/2"),  # too soon
            (0.9, 1, "layer 2/2"),  # a line
            (0.1, 3, "layer 2/2"),  # a line
            (0.1, 3, "layer 3/3"),  # a line: the last generation of another phase
        ]:
            clock.now += seconds
            update(display, generation, generation / 3, phase)
            counts.append(written(console).count("\n"))
    assert counts == [0, 1, 1, 2, 2, 3, 3, 3, 4, 5, 6]


@pytest.mark.parametrize("width", [80, 40])
def test_terminal_shows_one_moving_display(width: int, monkeypatch):
    console = terminal(width, monkeypatch)
    with Progress(console=console) as display:
        update(display, 1, 0.5)
        time.sleep(1.4)
        display.message("saved")
    output = written(console)
    assert output.count("?25l") == output.count("?25h") == 1
    assert "elapsed 0:00:00" in output and "elapsed 0:00:01" in output and "left 0:00:33" in output
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", output))
    assert "saved" in lines
    assert max(len(line) for line in lines) <= width
    assert any("layer 1/4 ━" in line for line in lines)
    assert any(line.startswith("layer 1/4  generation 1/3  best") for line in lines[-5:])


def test_terminal_is_left_clean_by_an_interrupt(monkeypatch):
    console = terminal(80, monkeypatch)
    with pytest.raises(KeyboardInterrupt), Progress(console=console) as display:
        with display.status("fitting the SVM"):
            raise KeyboardInterrupt
    assert written(console).rstrip("\r").endswith("\x1b[?25h")


def test_results_printed_beside_a_terminal_display_stay_on_stdout(monkeypatch, capsys):
    with Progress(console=terminal(80, monkeypatch)):
        print("result")
    assert capsys.readouterr() == ("result\n", "")


def test_terminal_status_moves_and_leaves_a_line(monkeypatch, clock: Clock):
    console = terminal(80, monkeypatch)
    with Progress(console=console) as display:
        with display.status("fitting the SVM"):
            time.sleep(0.4)
            clock.now += 12
    assert "fitting the SVM  elapsed 0:00:12\n" in written(console)


def test_dumb_terminal_gets_plain_lines(monkeypatch):
    console = terminal(80, monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    console = Console(file=console.file, force_terminal=True, width=80)
    with Progress(console=console) as display, display.status("fitting the SVM"):
        pass
    assert written(console) == "fitting the SVM\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_quiet_prints_nothing(is_terminal: bool, monkeypatch):
    console = terminal(80, monkeypatch) if is_terminal else log()
    with Progress(quiet=True, console=console) as display:
        display.message("loading")
        update(display, 3, 1.0)
        with display.status("fitting the SVM"):
            pass
    assert written(console) == ""


def test_everything_goes_to_stderr(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress() as display:
        display.message("loading")
    assert capsys.readouterr() == ("", "loading\n")


def test_a_terminal_shows_that_the_next_step_is_compiled_until_it_is_done(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    console = terminal(100, monkeypatch)

    def shown() -> str:
        start = len(written(console))
        display._live.refresh()
        return written(console)[start:]

    with Progress(console=console) as display:
        update(display, 1, 0.4)
        display.compiling("breed")
        assert "compiling" in shown() and "0.031" not in shown()
        update(display, 1, 0.5)
        assert "compiling" not in shown() and "0.031" in shown()
