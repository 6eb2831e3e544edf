"""The same training and scoring of tied 784-500 autoencoders in PyTorch.

Once a model after the other, and once by `torch.func.vmap` over all of them, whose Adam works on
the stacked weights.
"""

import os
from collections.abc import Callable

import jax
import numpy as np
import torch  # pyright: ignore[reportMissingImports]

SCORE_BATCH = 500  # a little faster than more or fewer

if jax.default_backend() == "cpu":
    _DEVICE = torch.device("cpu")
    torch.set_num_threads(os.cpu_count() or 1)
elif torch.cuda.is_available():
    _DEVICE = torch.device("cuda")
    torch.set_float32_matmul_precision("high")  # as JAX does without being asked
else:
    raise ImportError("this PyTorch does not know the device that JAX runs on")


def square(side: int) -> Callable[[], object]:
    """A float32 product of two square matrices."""
    left, right = torch.randn(2, side, side, device=_DEVICE)
    return lambda: (left @ right)[0, 0].item()  # an item, because a GPU answers before it is done


def trainers(
    kernels: np.ndarray, images: np.ndarray, order: np.ndarray, learning_rate: float
) -> dict[str, Callable[[], np.ndarray]]:
    """Functions that train kernels [P, I, O] on batches [T, B] of the images uint8 [N, I].

    They return the losses [P] summed over the batches; each call goes on where the last one ended.
    """
    batches, pictures = torch.tensor(order).to(_DEVICE), torch.tensor(images).to(_DEVICE)
    models = [torch.tensor(kernel).to(_DEVICE).requires_grad_() for kernel in kernels]
    optimizers = [torch.optim.Adam([model], learning_rate, fused=True) for model in models]
    stacked = torch.tensor(kernels).to(_DEVICE).requires_grad_()
    optimizer = torch.optim.Adam([stacked], learning_rate, fused=True)
    gradients = torch.func.vmap(torch.func.grad_and_value(_loss), in_dims=(0, None))

    def one_by_one() -> np.ndarray:
        totals = torch.zeros(len(models), device=_DEVICE)
        for index, (model, of_model) in enumerate(zip(models, optimizers, strict=True)):
            for batch in batches:
                loss = _loss(model, _unit_interval(pictures[batch]))
                of_model.zero_grad()
                loss.backward()
                of_model.step()
                totals[index] += loss.detach()
        return totals.cpu().numpy()

    def together() -> np.ndarray:
        totals = torch.zeros(len(stacked), device=_DEVICE)
        for batch in batches:
            inputs = _unit_interval(pictures[batch])
            stacked.grad, losses = gradients(stacked.detach(), inputs)
            optimizer.step()
            totals += losses
        return totals.cpu().numpy()

    return {"torch loop": one_by_one, "torch vmap": together}


def scorers(kernels: np.ndarray, images: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Functions that return the mean losses [P] of kernels [P, I, O] on images uint8 [N, I]."""
    stacked, pictures = torch.tensor(kernels).to(_DEVICE), torch.tensor(images).to(_DEVICE)
    losses_of_all = torch.func.vmap(_loss, in_dims=(0, None))

    def mean(losses_of: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
        totals = torch.zeros(len(stacked), device=_DEVICE)
        with torch.inference_mode():
            for batch in pictures.split(SCORE_BATCH):
                totals += len(batch) * losses_of(_unit_interval(batch))
        return (totals / len(pictures)).cpu().numpy()

    def one_by_one() -> np.ndarray:
        return mean(lambda inputs: torch.stack([_loss(kernel, inputs) for kernel in stacked]))

    def together() -> np.ndarray:
        return mean(lambda inputs: losses_of_all(stacked, inputs))

    return {"torch loop": one_by_one, "torch vmap": together}


def _unit_interval(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float() / 255


def _loss(kernel: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.mse_loss(torch.tanh(inputs @ kernel) @ kernel.T, inputs)
