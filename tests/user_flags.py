"""The compiler flags that users run with, for tests that compare results to the bit."""

from contextlib import contextmanager

import jax
import pytest
from jax._src import compiler


@contextmanager
def users_flags():
    """Compile with optimisations and by the newer code generator, which the other tests do without.

    The flags of a process are read once, so each program is given its own.
    """
    original = compiler.get_compile_options

    def options_of_users(*arguments, **named):
        options = original(*arguments, **named)
        newer = ("xla_cpu_use_fusion_emitters", True)
        options.env_option_overrides = [*options.env_option_overrides, newer]
        return options

    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "get_compile_options", options_of_users)
        yield
    jax.config.update("jax_disable_most_optimizations", True)
    jax.clear_caches()
