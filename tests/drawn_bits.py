"""How many random bits a function draws, read from its program."""

import math

import jax


def drawn_bits(function, *arguments):
    """Random bits of one call, loops counted once."""
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr):
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "random_bits":
            total += equation.params["bit_width"] * math.prod(equation.outvars[0].aval.shape)
        if equation.primitive.name == "iota" and equation.params["dtype"] == "uint32":
            total += 32 * math.prod(equation.outvars[0].aval.shape)  # counted by gajax.bits
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
            if _is_program(inner):
                total += _count(getattr(inner, "jaxpr", inner))
    return total


def _is_program(value):
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")
