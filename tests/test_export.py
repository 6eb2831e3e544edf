"""Exported networks are read by NumPy alone, and by the sparse arrays of JAX and SciPy."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental.sparse import BCOO

import gajax


def sparse(*shape, dtype=np.float32):
    random = np.random.default_rng(sum(shape))
    return (random.normal(size=shape) * (random.random(shape) < 0.3)).astype(dtype)


NETWORK = {
    "kernel": sparse(5, 4),
    "conv": sparse(2, 3, 4, 5),
    "bias": sparse(7),
    "scale": np.array(2, np.float32),
    "off": np.zeros((2, 3), np.float32),
    "nothing": np.zeros((0, 3), np.float32),
    "file": np.array([[0, -3], [5, 0]], np.int8),
    "mask": np.array([[True, False]]),
    "double": sparse(3, 2, dtype=np.float64),
    "half": sparse(4, 3, dtype=np.float16),
    "brain": sparse(4, 2, dtype=jnp.bfloat16),
    "nan": np.array([[np.nan, 0]], np.float32),
}


@pytest.fixture
def exported(tmp_path):
    def write(form):
        gajax.export({"net": NETWORK}, tmp_path / "network", form)
        with np.load(tmp_path / "network", allow_pickle=False) as file:
            return dict(file)

    return write


def _type(leaf, *widened):
    return np.float32 if leaf.dtype.name in ("bfloat16", *widened) else leaf.dtype


def test_dense_arrays(exported):
    arrays = exported("dense")
    assert arrays.keys() == {f"net/{name}" for name in NETWORK}
    for name, leaf in NETWORK.items():
        np.testing.assert_array_equal(
            arrays[f"net/{name}"], leaf.astype(_type(leaf)), strict=True, err_msg=name
        )


def test_coordinates_for_jax(exported):
    file = exported("bcoo")
    for name, leaf in NETWORK.items():
        data, indices, shape = (file[f"net/{name}/{part}"] for part in ("data", "indices", "shape"))
        matrix = BCOO((data, indices), shape=tuple(shape))
        assert matrix.shape == leaf.shape and matrix.nse == np.count_nonzero(leaf)
        assert data.dtype == _type(leaf) and indices.dtype == np.int32
        assert shape.dtype == np.int64
        if name in ("conv", "bias", "scale"):
            np.testing.assert_array_equal(matrix.todense(), leaf, err_msg=name)
        elif leaf.ndim:
            dense = np.zeros(leaf.shape, data.dtype)
            dense[tuple(indices.T)] = data
            np.testing.assert_array_equal(dense, leaf.astype(data.dtype), err_msg=name)


def test_matrices_for_scipy(exported):
    file = exported("csr")
    for name, leaf in NETWORK.items():
        parts = (file[f"net/{name}/{part}"] for part in ("data", "indices", "indptr"))
        matrix = scipy.sparse.csr_matrix(tuple(parts), file[f"net/{name}/shape"])
        matrix.check_format()
        rows = int(np.prod(leaf.shape[:-1]))
        expected = leaf.astype(_type(leaf, "float16")).reshape(
            rows, leaf.shape[-1] if leaf.ndim else 1
        )
        np.testing.assert_array_equal(matrix.toarray(), expected, strict=True, err_msg=name)
        assert matrix.nnz == np.count_nonzero(leaf)
    assert file["net/conv/shape"].tolist() == [2 * 3 * 4, 5]


def test_other_forms_are_refused(tmp_path):
    with pytest.raises(ValueError, match="^form must be one of dense, bcoo, csr, not 'coo'$"):
        gajax.export(NETWORK, tmp_path / "x", "coo")
