"""Rows of a comparison of fronts: a method, what it has in common with the reference, its rates."""

from collections.abc import Iterable
from itertools import product
from typing import Literal, NamedTuple, get_args

from experiments.front.config import Method
from experiments.running import files

Budget = Literal["cost", "steps"]

OF_ONE_NETWORK = ("pruning", "regrowth")
"""Methods that can have the cost of a population either in more steps or in larger batches."""

TUNABLE = ("independent", *OF_ONE_NETWORK)
"""Baselines with a learning rate at density 1 and one at density 0.002."""

NAMES = {
    "ladder": "ladder",
    "ladder-no-mixing": "ladder without mixing",
    "ladder-no-survival": "ladder without survival",
    "ladder-lineage": "lineage, then ladder",
    "independent": "independent networks",
    "gemonn": "GEMONN",
    "nsga2": "NSGA-II",
    "nsga2-gradient": "NSGA-II(+gradient)",
    "nsga2-gradient-0": "NSGA-II(+gradient_0)",
    "pruning": "pruning",
    "regrowth": "regrowth",
}
"""Names of methods in tables and figures; the individuals of `descent` have their own."""

RATES = (0.1, 0.01, 0.001)
OF_DESCENT = tuple(f"{rule} {rate:g}" for rule in ("SGD", "Adam") for rate in RATES)
"""Names of the individuals of `descent`."""

SUMMARY: files.Schema = {
    "zero_loss": lambda value: files.within(0)(value) and value > 0,
    "names": lambda value: (
        type(value) is list
        and all(name in OF_DESCENT for name in value)
        and len({*value}) == len(value) > 0
    ),
    "log_hypervolume": files.within(0, 1.001),
    "front_size": files.within(1),
}
"""What `summary.json` holds beside what it does of any run."""


class Row(NamedTuple):
    """A method, and how it is compared.

    Attributes:
      method: of the config.
      equal: whether it has the cost of the reference with the same batches, or at this cost also
        the sequential steps, with larger batches.
      is_tuned: whether its two learning rates were chosen from a grid on held-out images.
    """

    method: str
    equal: Budget = "cost"
    is_tuned: bool = False

    @property
    def name(self) -> str:
        """Name in run directories."""
        return self.method + "-steps" * (self.equal == "steps") + "-tuned" * self.is_tuned

    @property
    def title(self) -> str:
        """Name in tables and figures, of a method that has one."""
        equal = ", large batches" if self.equal == "steps" else ""
        return NAMES[self.method] + equal + ", tuned" * self.is_tuned


ROWS = {
    row.name: row
    for method in get_args(Method)
    for equal, is_tuned in product(get_args(Budget), (False, True))
    if equal == "cost" or method in OF_ONE_NETWORK
    if not is_tuned or method in TUNABLE
    for row in [Row(method, equal, is_tuned)]
}
"""All rows by name, in the order of the table."""


def rows_of(methods: Iterable[str], budgets: Iterable[str], *, tune: bool) -> list[Row]:
    """The rows of a comparison, in the order in which they run: those first that set the cost."""
    methods, budgets = {*methods}, {*budgets}
    return [
        row
        for row in ROWS.values()
        if row.method in methods
        and (row.equal in budgets or row.method not in OF_ONE_NETWORK)
        and (tune or not row.is_tuned)
    ]
