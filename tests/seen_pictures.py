"""What pictures are drawn with, for tests that look at more than their bytes."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest


@pytest.fixture
def seen(monkeypatch):
    """What the last picture was drawn with: its matplotlib figure and panels."""
    from experiments.autoencoder import figures as autoencoder_figures
    from experiments.classify import figures as classify_figures
    from experiments.front import figures as front_figures
    from experiments.front import weight_figures
    from experiments.reporting.canvas import canvas

    last = SimpleNamespace()

    @contextmanager
    def watched(*args, **options):
        with canvas(*args, **options) as figure:
            yield figure
        last.figure, last.panels = figure, figure.axes

    for module in (autoencoder_figures, classify_figures, front_figures, weight_figures):
        monkeypatch.setattr(module, "canvas", watched)
    return last
