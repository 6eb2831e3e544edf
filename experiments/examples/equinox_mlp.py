"""An Equinox network with dropout."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

import gajax


def make(key):
    keys = jax.random.split(key)
    hidden, out = eqx.nn.Linear(64, 32, key=keys[0]), eqx.nn.Linear(32, 10, key=keys[1])
    return eqx.nn.Sequential([hidden, eqx.nn.Lambda(jax.nn.relu), eqx.nn.Dropout(0.2), out])


network = gajax.models.equinox(make)


@gajax.with_context
def loss_fn(params, batch, context):
    module = network.merge(params, context)
    keys = jax.random.split(context.key, len(batch["labels"]))
    logits = jax.vmap(lambda image, key: module(image, key=key))(batch["images"], keys)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"]).mean()
    metrics = {"accuracy": jnp.mean(logits.argmax(-1) == batch["labels"])}
    return gajax.Output(loss, metrics=metrics)


images, labels = load_digits(return_X_y=True)
examples = {"images": images.astype("float32") / 16, "labels": labels}
data = gajax.Data(examples, order_key=0)
population = gajax.init(1, network.init, size=8)
for algorithm in (
    gajax.ga(loss_fn, optimizer=optax.adam(1e-2), survivors=4, batch_size=64),
    gajax.gemonn(loss_fn, batch_size=128, refine=gajax.Refine(gajax.sparse(optax.adam(1e-2)), 10)),
    gajax.descent(loss_fn, optimizer=optax.adam(1e-2), batch_size=64),
):
    for _, info in gajax.evolve(algorithm, 2, population, data, generations=4):
        print(info.generation, info.loss.min(), info.metrics["accuracy"].max())
