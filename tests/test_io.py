"""What is written into files comes back to the bit, and nothing else is read."""

import os
import stat
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import gajax

FLOATS = "float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2".split()
INTEGERS = "int64 int32 int16 int8 uint64 uint32 uint16 uint8".split()


class Layer(NamedTuple):
    """A model of its own type."""

    kernel: jax.Array
    bias: jax.Array


TREES = {
    "an individual": gajax.Individual(
        {"dense": Layer(jnp.arange(6.0).reshape(2, 3), jnp.ones(3))},
        {"count": jnp.int32(3), "mean": [jnp.zeros(2), None]},
        {"rate": jnp.float32(0.1)},
    ),
    "one array": jnp.arange(4),
    "a population": {"kernel": jnp.arange(24.0).reshape(2, 3, 4), "bias": jnp.ones((2, 4))},
    "no entries": {"kernel": jnp.zeros((0, 3)), "bias": jnp.zeros(3)},
    "no leaves": {},
}


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert type(one) is type(other) and one.dtype == other.dtype and one.shape == other.shape
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_trees_come_back(tree, path):
    gajax.save(tree, path)
    assert_same(gajax.load(path, tree), tree)
    assert list(path.parent.iterdir()) == [path]
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
    assert_same(gajax.load(path, shapes), jax.tree.map(np.asarray, tree))


@pytest.mark.parametrize("name", [*FLOATS, *INTEGERS, "bool"])
def test_every_type_keeps_its_bits(name, path):
    dtype = jnp.dtype(name)
    size = 6 * dtype.itemsize
    word = np.arange(size, dtype=np.uint8) % 2 if name == "bool" else np.arange(250 - size, 250)
    array = word.astype(np.uint8).view(dtype).reshape(2, 3)
    tree = {"a": array, "b": array[0, 1, ...], "c": array.T}
    gajax.save(tree, path)
    assert_same(gajax.load(path, tree), tree)


def test_numbers_of_either_byte_order(path):
    tree = np.arange(4, dtype=">f4"), np.arange(4, dtype="<f4")
    gajax.save(tree, path)
    for array in gajax.load(path, tree):
        np.testing.assert_array_equal(array, np.arange(4, dtype=np.float32), strict=True)


def test_numbers_that_are_not_finite_keep_their_bits(path):
    tree = np.array([np.nan, -np.nan, np.inf, -0.0], np.float32)
    gajax.save(tree, path)
    assert gajax.load(path, tree).tobytes() == tree.tobytes()


def test_models_of_equinox_and_flax(path):
    equinox = pytest.importorskip("equinox")
    from flax import nnx

    model = equinox.nn.MLP(2, 3, 4, 1, key=jax.random.key(0))
    arrays = equinox.filter(model, equinox.is_array)
    state = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    for tree, name in ((arrays, "layers/0/weight"), (state, "kernel")):
        gajax.save(tree, path)
        assert name in load_file(path)
        assert_same(gajax.load(path, tree), tree)


def test_names_are_paths_and_metadata_are_strings(path):
    gajax.save(TREES["an individual"], path, {"loss": jnp.float32(0.5), "note": "ä"})
    with safe_open(path, "numpy") as file:
        assert file.metadata() == {"loss": "0.5", "note": "ä"}
        assert {*file.keys()} == {
            *("params/dense/kernel", "params/dense/bias", "state/count", "state/mean/0"),
            "hyper/rate",
        }


def test_a_state_comes_back_and_goes_on(path):
    from small_model import DATA, loss_fn, make, population

    arguments = make("descent", loss_fn), 0, population(), DATA
    state = gajax.start(*arguments)
    gajax.save(state, path)
    found = gajax.load(path, gajax.state_shapes(*arguments))
    assert_same(found, jax.device_get(state))


def test_files_have_the_mode_of_new_files(path):
    before = os.umask(0o027)
    try:
        gajax.save(jnp.ones(2), path)
        gajax.export(jnp.ones(2), path.with_name("other"))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o640}


@pytest.mark.parametrize("write", [gajax.save, gajax.export])
def test_a_write_that_fails_leaves_the_old_file(write, path, monkeypatch):
    write(jnp.ones(2), path)
    content = path.read_bytes()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        write(jnp.zeros(2), path)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "tree, words",
    [
        ({"a": 1.0}, "^leaf 'a' must be an array, not 1.0$"),
        ({"a": {"b": "text"}}, "^leaf 'a/b' must be an array, not 'text'$"),
        ({"a": jax.random.key(0)}, "^leaf 'a' must have a type of bool, .*, not key<fry>$"),
        ({"a": np.ones(2, complex)}, "^leaf 'a' must have a type of bool, .*, not complex128$"),
        ({"a": np.array(["text"])}, "^leaf 'a' must have a type of bool, .*, not str"),
        ({"__metadata__": np.ones(2)}, "^leaf '__metadata__' must have a type"),
        (
            {"a/b": np.ones(2), "a": {"b": np.ones(2)}},
            "^leaves must have paths of their own, not 'a/b' twice$",
        ),
    ],
)
def test_what_cannot_be_saved(tree, words, path):
    with pytest.raises(ValueError, match=words):
        gajax.save(tree, path)
    assert not path.exists()


GOOD = {"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.int32)}


@pytest.mark.parametrize(
    "other, words",
    [
        ({**GOOD, "c": GOOD["a"]}, "model.safetensors lacks the leaf 'c'$"),
        ({"a": GOOD["a"]}, "model.safetensors has a leaf that `like` lacks, 'b'$"),
        (
            {**GOOD, "a": GOOD["a"].T},
            r"^leaf 'a' of .*model.safetensors must be float32\[3, 2\], not float32\[2, 3\]$",
        ),
        ({**GOOD, "a": np.ones((1, 2, 3), np.float32)}, r"must be float32\[1, 2, 3\], not"),
        (
            {**GOOD, "b": GOOD["b"].astype(np.float32)},
            r"^leaf 'b' of .* must be float32\[4\], not int32\[4\]$",
        ),
        ({**GOOD, "b": jax.random.split(jax.random.key(0), 4)}, r"must be key<fry>\[4\], not"),
        ({**GOOD, "b": 1}, "^leaf 'b' must be an array, not 1$"),
    ],
)
def test_files_of_other_trees(other, words, path):
    save_file(GOOD, path)
    with pytest.raises(ValueError, match=words):
        gajax.load(path, other)


def _file(header: bytes, content: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + content


HOSTILE = {
    "empty": b"",
    "a few bytes": b"1234567",
    "text": b"These are no numbers at all, as anyone can see.",
    "a pickle": b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR.",
    "a long header": b"\xff" * 100,
    "no JSON": _file(b"{]"),
    "no UTF-8": _file(b"\xff\xfe{}"),
    "a list": _file(b"[]"),
    "nested deeply": _file(b'{"a":' * 10**4),
    "more than its header says": _file(b"{}", b"zz"),
    "huge": _file(b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}'),
    "negative": _file(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', b"1234"),
    "outside": _file(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}', b"1234"),
    "of other length": _file(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', b"1234"),
    "an unknown type": _file(b'{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}', b"1234"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files(content, path):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^\S+ is damaged or no safetensors file: .") as caught:
        gajax.load(path, GOOD)
    assert "\n" not in str(caught.value)
    assert list(path.parent.iterdir()) == [path]


def test_files_cut_anywhere(path):
    save_file(GOOD, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is damaged or no safetensors file"):
            gajax.load(path, GOOD)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match=f"^{path} must be a regular file$"):
            gajax.load(path, GOOD)
    with pytest.raises(FileNotFoundError):
        gajax.load(tmp_path / "missing", GOOD)


@pytest.mark.parametrize("call", [lambda path: gajax.save(GOOD, path), gajax.load])
def test_a_missing_package_is_named(call, path, hide_package):
    hide_package("safetensors")
    with pytest.raises(ImportError, match=r"`pip install safetensors`$"):
        call(*([path] if call is not gajax.load else [path, GOOD]))
