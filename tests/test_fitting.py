"""A run in one call: what its history holds, how it goes on, and what a terminal shows of it."""

import io
import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_model import DATA, SIZE, assert_same, loss_fn, make, population

import gajax
from gajax import fitting

GENERATIONS = 4
CUMULATIVE = "gradient_examples", "forward_examples", "sequential_steps"


def with_metric(params, batch, context):
    loss = loss_fn(params, batch)
    return gajax.Output(loss, metrics={"root": jnp.sqrt(loss)})


GA = make("ga", gajax.with_context(with_metric))


def fit(algorithm=GA, generations=GENERATIONS, **options):
    return gajax.fit(algorithm, 0, population(), DATA, generations=generations, **options)


@pytest.fixture(scope="module")
def through():
    """A run without interruption."""
    return jax.device_get(fit())


def same_run(found, expected):
    """The same to the bit, but for the time."""
    seconds = found.history["seconds"]
    assert (np.diff(seconds) > 0).all() and seconds[0] > 0
    runs = (run._replace(history=run.history | {"seconds": 0}) for run in (found, expected))
    assert_same(*runs)


def test_the_history_holds_what_evolve_yields(through):
    infos = [info for _, info in gajax.evolve(GA, 0, population(), DATA, generations=GENERATIONS)]
    history = through.history
    assert history["generation"].tolist() == [0, 1, 2, 3, 4]
    assert history["loss"].shape == (5, SIZE) and history["failed"].shape == (5,)
    for name in ("loss", "failed"):
        np.testing.assert_array_equal(history[name], [getattr(info, name) for info in infos])
    roots = [info.metrics["root"] for info in infos]
    np.testing.assert_array_equal(history["metrics"]["root"], roots)
    for name in CUMULATIVE:
        costs = np.cumsum([getattr(info, name) for info in infos])
        np.testing.assert_array_equal(history[name], costs)
    assert through.position == infos[-1].position == gajax.Position(5)


def test_the_state_is_that_of_evolve(through):
    steps = gajax.evolve(GA, 0, population(), DATA, generations=GENERATIONS)
    for state, info in steps:
        if info.generation == GENERATIONS:
            assert_same(through.state, state)


def test_a_run_that_is_extended_is_one_longer_run(through):
    first = fit(generations=2)
    before = jax.device_get(first)
    more = fit(resume_from=first)
    same_run(more, through)
    assert_same(first, before)  # can be resumed from again
    same_run(fit(resume_from=first), through)


def test_a_run_goes_on_from_a_state_and_its_position(through):
    first = fit(generations=2)
    more = fit(resume_from=(first.state, first.position))
    assert_same(more.state, through.state)
    assert more.history["generation"].tolist() == [3, 4]
    np.testing.assert_array_equal(more.history["loss"], through.history["loss"][3:])
    for name in CUMULATIVE:
        whole = through.history[name]
        np.testing.assert_array_equal(more.history[name], whole[3:] - whole[2])


def test_a_run_that_is_done_stays_as_it_is(through):
    again = fit(resume_from=through)
    assert_same(again, through)
    state, _, position = through
    assert_same(fit(resume_from=(state, position)), through._replace(history={}))


def test_generations_that_run_together_have_one_row(through):
    found = fit(together=3, progress=True)
    assert_same(found.state, through.state)
    assert found.history["generation"].tolist() == [0, 3, 4]
    for name in ("loss", *CUMULATIVE):
        np.testing.assert_array_equal(found.history[name], through.history[name][[0, 3, 4]])


def test_several_seeds_have_an_axis_behind_that_of_generations(through):
    keys = jax.random.split(jax.random.key(0), 2)
    populations = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), population())
    data = gajax.Data(jax.tree.map(lambda leaf: leaf[None], DATA.examples), DATA.order_key[None])
    history = gajax.fit(GA, keys, populations, data, generations=1).history
    assert history["loss"].shape == history["metrics"]["root"].shape == (2, 2, SIZE)
    assert history["failed"].shape == history["gradient_examples"].shape == (2, 2)
    assert history["sequential_steps"].shape == history["seconds"].shape == (2,)


def test_a_callback_sees_every_generation_and_can_end_the_run(through):
    seen = []

    def callback(state, info):
        seen.append(info.generation)
        np.testing.assert_array_equal(state.loss, info.loss)
        return info.generation == 2

    stopped = fit(callback=callback)
    assert seen == [0, 1, 2]
    assert stopped.history["generation"].tolist() == [0, 1, 2]
    assert stopped.position == gajax.Position(3)
    same_run(fit(resume_from=stopped), through)


def test_an_interrupt_is_raised_on_and_its_run_can_be_resumed_from_a_file(through, tmp_path):
    def keep(state, info):
        gajax.save(state, tmp_path / f"{info.generation}", {"next": info.position.generation})
        if info.generation == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(callback=keep)
    shapes = gajax.state_shapes(GA, 0, population(), DATA)
    state = gajax.load(tmp_path / "2", shapes)
    more = fit(resume_from=(state, gajax.Position(3)))
    assert_same(more.state, through.state)


def test_what_evolve_refuses_is_refused():
    with pytest.raises(ValueError, match="^generations must be 0 or more, not -1$"):
        fit(generations=-1)
    with pytest.raises(ValueError, match="^generations must be given"):
        gajax.fit(GA, 0, population(), DATA)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True

    def lines(self):
        return [line.rstrip() for line in self.getvalue().replace("\n", "\r").split("\r")]


@pytest.fixture
def terminal(monkeypatch):
    """A terminal on stderr that is wide enough, on which every line is shown at once."""
    stream = Terminal()
    monkeypatch.setattr(fitting, "sys", SimpleNamespace(stderr=stream))
    monkeypatch.setattr(fitting, "_SECONDS_BETWEEN_LINES", 0)
    monkeypatch.setenv("COLUMNS", "100")
    return stream


def test_a_terminal_shows_one_line_that_changes(terminal, through):
    same_run(fit(), through)
    assert terminal.getvalue().count("\n") == 1 and terminal.getvalue().endswith("%\n")
    written = terminal.getvalue().removesuffix("\n").split("\r")[1:]
    for before, after in itertools.pairwise(written):
        assert len(after) >= len(before.rstrip())  # so that nothing of it stays
    lines = [line for line in terminal.lines() if line]
    assert lines[0] == "compiling start"
    compiled = [line.rpartition(" ")[2] for line in lines if "compiling" in line]
    assert compiled == ["start", "score", "rank", "train", "breed"]
    best = through.history["loss"].min(axis=1)
    assert lines[-1] == f"generation 4/4  best loss {best[4]:.4g}  100 %"
    assert any(
        line.startswith(f"generation 3/4  best loss {best[3]:.4g}  75 %  0:00:0") for line in lines
    )


def test_the_line_moves_within_generations_and_changes_no_bit(terminal, through, monkeypatch):
    monkeypatch.setattr(fitting, "_SECONDS_WITHIN_GENERATION", 1e-9)
    same_run(fit(), through)
    best = through.history["loss"].min(axis=1)
    shares = [
        int(line.split("  ")[2].removesuffix(" %"))
        for line in terminal.lines()
        if line.startswith(f"generation 3/4  best loss {best[2]:.4g}")
    ]
    assert len(shares) > 3 and shares == sorted(shares)
    assert 50 < shares[0] < shares[-1] <= 75


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_the_time_left(terminal, monkeypatch, share, through):
    now = [100.0]
    monkeypatch.setattr(fitting.time, "monotonic", lambda: now[0])
    line = fitting._Line(terminal, 10)
    info = gajax.Info(1, "train", 1.0, True, np.ones(2), {}, np.int32(0), 0, 0, 0, (2, 0, 0))
    line.show(info._replace(generation=0))
    line.compiling("train")
    now[0] += 1000  # a compilation does not count
    line.show(info)
    now[0] += 3600 * share
    line.show(info._replace(generation=2, fraction=share))
    assert terminal.lines()[-1] == f"generation 2/10  best loss 1  {int(10 + 10 * share)} %  " + (
        "8:45:00 left" if share == 0.25 else "8:15:00 left"
    )


def test_what_a_callback_prints_stands_on_lines_of_its_own(terminal):
    fit(callback=lambda state, info: print("so far", info.generation, file=terminal))
    last_of_each = [line.rpartition("\r")[2] for line in terminal.getvalue().split("\n")]
    assert last_of_each[:5] == [f"so far {generation}" for generation in range(5)]


@pytest.mark.parametrize("columns", [20, 40])
def test_the_line_is_no_wider_than_the_terminal(columns, terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    fit(generations=1)
    assert max(map(len, terminal.lines())) == columns - 1


def test_no_loss_is_shown_that_is_not_finite(terminal):
    nowhere = jax.tree.map(lambda leaf: leaf * np.nan, population())
    gajax.fit(GA, 0, nowhere, DATA, generations=0)
    assert terminal.lines()[-2] == "generation 0  100 %"


def test_the_best_loss_is_finite(terminal):
    loss = np.array([np.nan, 2, -np.inf, 3])
    info = gajax.Info(1, "train", 1.0, True, loss, {}, np.int32(2), 0, 0, 0, (2, 0, 0))
    fitting._Line(terminal, None).show(info)
    assert terminal.lines()[-1] == "generation 1  best loss 2  100 %"


def test_lines_are_not_written_too_often(terminal, monkeypatch):
    fit()
    often = len(terminal.lines())
    terminal.truncate(0)
    monkeypatch.setattr(fitting, "_SECONDS_BETWEEN_LINES", 1000)
    fit()
    assert len(terminal.lines()) < often and " 100 %\n" in terminal.getvalue()


@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize("progress", [None, False, True])
def test_where_there_is_progress(is_terminal, progress, monkeypatch, capsys):
    stream = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(fitting, "sys", SimpleNamespace(stderr=stream))
    fit(generations=1, progress=progress)
    is_shown = is_terminal if progress is None else progress
    assert bool(stream.getvalue()) is is_shown
    assert capsys.readouterr() == ("", "")


def test_an_error_leaves_the_terminal_at_the_start_of_a_line(terminal):
    def fail(state, info):
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        fit(callback=fail)
    assert terminal.getvalue().endswith("\n")
