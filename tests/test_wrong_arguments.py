"""Arguments out of their range are refused at once, in a sentence that names them."""

from functools import partial

import jax
import optax
import pytest
from small_model import BATCH, CHECKS, DATA, EXAMPLES, SIZE, SPARSE, loss_fn, make, population

import gajax

ADAM = optax.adam(0.01)
GA = partial(gajax.ga, loss_fn, optimizer=ADAM, survivors=2, batch_size=BATCH)
DESCENT = partial(gajax.descent, loss_fn, optimizer=ADAM, batch_size=BATCH)
REFINEMENT = partial(gajax.refinement, loss_fn, optimizer=SPARSE, batch_size=BATCH, steps=10)
FRONTS = {
    "nsga2": partial(gajax.nsga2, loss_fn, batch_size=BATCH),
    "gemonn": partial(gajax.gemonn, loss_fn, batch_size=BATCH),
}
FACTORIES = {"ga": GA, "descent": DESCENT, "refinement": REFINEMENT, **FRONTS}


def sentence(name, lowest, value):
    """A pattern for the whole message."""
    return rf"^{name} must be {lowest} or more, not {value}$"


@pytest.mark.parametrize(
    "factory, name, value",
    [
        *(("ga", name, 0) for name in ("survivors", "epochs", "score_examples")),
        ("descent", "epochs", 0),
        *(("refinement", name, 0) for name in ("steps", "checks", "score_examples")),
        *((factory, "chunk_size", size) for factory in FACTORIES for size in (0, -1)),
    ],
)
def test_numbers_that_are_too_low(factory, name, value):
    with pytest.raises(ValueError, match=sentence(name, 1, value)):
        FACTORIES[factory](**{name: value})


@pytest.mark.parametrize("name", ["steps", "interval"])
@pytest.mark.parametrize("factory", FRONTS)
def test_a_refinement_of_offspring_has_steps_and_an_interval(factory, name):
    refine = gajax.Refine(SPARSE, steps=3)._replace(**{name: 0})
    with pytest.raises(ValueError, match=sentence(rf"refine\.{name}", 1, 0)):
        FRONTS[factory](refine=refine)


def evolve(algorithm, key=0, **options):
    """The call alone, for what is wrong is refused before the first step is asked for."""
    return gajax.evolve(algorithm, jax.random.key(key), population(), DATA, **options)


@pytest.mark.parametrize("survivors", [SIZE, SIZE + 1])
def test_some_survive_but_not_all(survivors):
    with pytest.raises(ValueError, match=f"^survivors must be from 1 to {SIZE - 1}, not"):
        evolve(GA(survivors=survivors), generations=1)


@pytest.mark.parametrize(
    "name, most",
    [*((name, EXAMPLES) for name in FACTORIES), ("refined", EXAMPLES // 2)],
)
@pytest.mark.parametrize("more", [False, True])
def test_a_batch_is_neither_empty_nor_larger_than_the_data(name, most, more):
    """Where children learn, there must be a batch to judge them by as well."""
    batch_size = most + 1 if more else 0
    if name == "refined":
        refine = gajax.Refine(SPARSE, steps=3)
        made = gajax.nsga2(loss_fn, batch_size=batch_size, refine=refine)
    else:
        made = FACTORIES[name](batch_size=batch_size)
    with pytest.raises(ValueError, match=f"^batch_size must be from 1 to {most}, not"):
        evolve(made, generations=2)


@pytest.mark.parametrize("name", FACTORIES)
def test_generations_are_counted_from_zero(name):
    with pytest.raises(ValueError, match=sentence("generations", 0, -1)):
        evolve(FACTORIES[name](), generations=-1)


@pytest.mark.parametrize("together", [0, -1])
def test_at_least_one_generation_runs_at_a_time(together):
    with pytest.raises(ValueError, match=sentence("together", 1, together)):
        evolve(GA(), generations=1, together=together)


def test_generations_together_are_not_cut():
    with pytest.raises(ValueError, match="^seconds must be left out where generations run togeth"):
        evolve(GA(), generations=1, together=2, seconds=1.0)


def test_only_an_algorithm_that_ends_by_itself_needs_no_generations():
    with pytest.raises(ValueError, match="^generations must be given for an algorithm that"):
        evolve(GA())


@pytest.mark.parametrize("generations", [CHECKS + 1, 1_000])
def test_a_refinement_has_no_generation_behind_its_last(generations):
    made = make("refinement", loss_fn)
    with pytest.raises(ValueError, match=f"^generations must be fewer than {generations}: the"):
        evolve(made, generations=generations)
    evolve(made, generations=CHECKS)


def test_examples_that_disagree_about_their_number():
    """They are counted before anything is compiled."""
    data = DATA._replace(examples={**DATA.examples, "inputs": DATA.examples["inputs"][1:]})
    with pytest.raises(ValueError, match="leading axis"):
        gajax.evolve(GA(), jax.random.key(0), population(), data, generations=1)
