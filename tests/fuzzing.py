"""Properties that hold for any values of Hypothesis: a few examples, or thousands if heavy.

GAJAX_HEAVY scales the number of heavy examples, such as 0.01 for a hundredth.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ODD = [0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-45, -1e-39]


SCALE = float(os.environ.get("GAJAX_HEAVY", 1))


def scaled(count):
    """The number of heavy examples."""
    return max(1, round(SCALE * count))


class Peak:
    """The most memory that this process takes at once, of which a reader may take 500 MB."""

    most = 500 * 10**6

    def __init__(self):
        with suppress(OSError):  # elsewhere than on Linux nothing is measured
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        self._before, _ = self._sizes()

    def growth(self):
        """Bytes by which the process has grown since then, at its height."""
        return max(0, self._sizes()[1] - self._before)

    def _sizes(self):
        """Bytes that are resident now, and at their height."""
        with suppress(OSError):
            lines = Path("/proc/self/status").read_text().splitlines()
            found = {line.split(":")[0]: line.split()[1] for line in lines if line[:2] == "Vm"}
            return 1024 * int(found["VmRSS"]), 1024 * int(found["VmHWM"])
        return 0, 0


def fuzz(few, many, /, *, more=None, counted=None, **strategies):
    """Make a test of `check(**values, folder)`: always the same examples, or new ones if heavy.

    `more` has the strategies that the heavy ones take instead. `counted` is what they are counted
    as, of which none may take two seconds or 500 MB.
    """

    def decorate(check):
        @pytest.mark.parametrize("is_heavy", [False, pytest.param(True, marks=pytest.mark.heavy)])
        def test(is_heavy, tmp_path, record_property):
            count = scaled(many) if is_heavy else few
            seconds, sizes = [], []

            def timed(**values):
                peak, started = Peak(), time.process_time()
                check(**values)
                seconds.append(time.process_time() - started)
                sizes.append(peak.growth())

            fuzzed = settings(
                max_examples=count,
                derandomize=not is_heavy,
                database=None,
                deadline=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            )(given(**(strategies | (more or {} if is_heavy else {})))(timed if counted else check))
            try:
                fuzzed(folder=tmp_path)
            finally:
                if counted:
                    most = max(seconds, default=0), max(sizes, default=0)
                    record_property("count", (counted, len(seconds), count, *most))
            assert max(seconds, default=0) < 2
            assert max(sizes, default=0) < Peak.most

        return test

    return decorate


def numbers(most=6):
    """Up to so many different values in float32, odd ones among them."""
    ordinary = st.floats(-(2.0**66), 2.0**66, width=32).filter(lambda x: x == 0 or abs(x) > 1e-20)
    return st.lists(ordinary | st.sampled_from(ODD), min_size=1, max_size=most)


@st.composite
def damaged(draw, originals):
    """`(name, content)` of one of the originals, some of its bytes set, put in or left out."""
    name = draw(st.sampled_from(sorted(originals())))
    content = bytearray(originals()[name])
    for _ in range(draw(st.integers(1, 6))):
        # Most of what is read first stands at the start, or for an archive at the end.
        place = draw(
            st.integers(0, 120) | st.integers(-120, -1) | st.integers(0, max(1, len(content)))
        )
        place = place % max(1, len(content))
        length = draw(st.integers(1, 40))
        kind = draw(st.sampled_from(["set", "set", "leave out", "double", "put in", "cut off"]))
        if kind == "set":
            content[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "leave out":
            del content[place : place + length]
        elif kind == "double":
            content[place:place] = content[place : place + length]
        elif kind == "put in":
            content[place:place] = draw(st.binary(min_size=1, max_size=8))
        else:
            del content[place:]
    return name, bytes(content)
