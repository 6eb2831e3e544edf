"""A Flax Linen transformer with dropout, which reads an image row by row."""

import flax.linen as nn
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

import gajax


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, images, is_training=False):
        hidden = nn.Dense(32)(images.reshape(-1, 8, 8)) + nn.Embed(8, 32)(jnp.arange(8))
        hidden += nn.MultiHeadAttention(num_heads=4)(nn.LayerNorm()(hidden))
        mixed = nn.Dense(32)(nn.gelu(nn.Dense(64)(nn.LayerNorm()(hidden))))
        hidden += nn.Dropout(0.1, deterministic=not is_training)(mixed)
        return nn.Dense(10)(hidden.mean(axis=-2))


@gajax.with_context
def loss_fn(params, batch, context):
    rngs, is_training = {"dropout": context.key}, context.is_training
    logits = Transformer().apply(params, batch["images"], is_training, rngs=rngs)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"]).mean()
    metrics = {"accuracy": jnp.mean(logits.argmax(-1) == batch["labels"])}
    return gajax.Output(loss, metrics=metrics)


images, labels = load_digits(return_X_y=True)
data = gajax.Data({"images": images.astype("float32") / 16, "labels": labels}, order_key=0)
population = gajax.init(1, lambda key: Transformer().init(key, images[:1]), size=8)
for algorithm in (
    gajax.ga(loss_fn, optimizer=optax.adam(3e-3), survivors=4, batch_size=64),
    gajax.gemonn(loss_fn, batch_size=128, refine=gajax.Refine(gajax.sparse(optax.adam(3e-3)), 10)),
    gajax.descent(loss_fn, optimizer=optax.adam(3e-3), batch_size=64),
):
    for _, info in gajax.evolve(algorithm, 2, population, data, generations=4):
        print(info.generation, info.loss.min(), info.metrics["accuracy"].max())
