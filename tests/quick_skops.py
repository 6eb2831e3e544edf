"""skops without PyTorch, which it imports where it is installed, in 3 s, to look for estimators."""

import sys

import sklearn.utils.validation  # noqa: F401  # with SciPy, which may not meet the None below

_installed = sys.modules.get("torch")
sys.modules["torch"] = None  # type: ignore[assignment]
try:
    import skops.io  # noqa: F401
finally:
    del sys.modules["torch"]
    if _installed:
        sys.modules["torch"] = _installed
