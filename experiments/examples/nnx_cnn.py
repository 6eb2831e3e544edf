"""A Flax NNX network with batch normalisation and dropout."""

import jax.numpy as jnp
import optax
from flax import nnx
from sklearn.datasets import load_digits

import gajax


class CNN(nnx.Module):
    def __init__(self, rngs):
        self.conv, self.norm = nnx.Conv(1, 8, (3, 3), rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
        self.dropout, self.out = nnx.Dropout(0.2, rngs=rngs), nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, images):
        hidden = nnx.avg_pool(nnx.relu(self.norm(self.conv(images))), (2, 2), (2, 2))
        return self.out(self.dropout(hidden.reshape(len(images), -1)))


network = gajax.models.nnx(CNN)


@gajax.with_context
def loss_fn(params, batch, context):
    module = network.merge(params, context)
    logits = module(batch["images"].reshape(-1, 8, 8, 1))
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"]).mean()
    metrics = {"accuracy": jnp.mean(logits.argmax(-1) == batch["labels"])}
    return gajax.Output(loss, network.state(module), metrics)


images, labels = load_digits(return_X_y=True)
data = gajax.Data({"images": images.astype("float32") / 16, "labels": labels}, order_key=0)
population = gajax.init(1, network.init, size=8)
for algorithm in (
    gajax.ga(loss_fn, optimizer=optax.adam(1e-2), survivors=4, batch_size=64),
    gajax.gemonn(loss_fn, batch_size=128, refine=gajax.Refine(gajax.sparse(optax.adam(1e-2)), 10)),
    gajax.descent(loss_fn, optimizer=optax.adam(1e-2), batch_size=64),
):
    for _, info in gajax.evolve(algorithm, 2, population, data, generations=4):
        print(info.generation, info.loss.min(), info.metrics["accuracy"].max())
