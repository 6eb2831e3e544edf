"""Training and scoring of tied 784-500 autoencoders in PyTorch.

Each is implemented as a loop over models and as `torch.func.vmap` over stacked weights.
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
    torch.set_float32_matmul_precision("high")  # the default of JAX
else:
    raise ImportError("this PyTorch does not support the device of JAX")


def square(side: int) -> Callable[[], object]:
    """Return a function that multiplies two square float32 matrices."""
    left, right = torch.randn(2, side, side, device=_DEVICE)
    return lambda: (left @ right)[0, 0].item()  # item() waits for the GPU


def trainers(
    kernels: np.ndarray, images: np.ndarray, order: np.ndarray, learning_rate: float
) -> dict[str, Callable[[], np.ndarray]]:
    """Return functions that train kernels [P, I, O] on batches [T, B] of the images uint8 [N, I].

    They return the losses [P] summed over the batches; each call continues from the previous one.
    """
    batches, pictures = torch.tensor(order).to(_DEVICE), torch.tensor(images).to(_DEVICE)
    models = [torch.tensor(kernel).to(_DEVICE).requires_grad_() for kernel in kernels]
    optimizers = [torch.optim.Adam([model], learning_rate, fused=True) for model in models]
    stacked = torch.tensor(kernels).to(_DEVICE).requires_grad_()
    optimizer = torch.optim.Adam([stacked], learning_rate, fused=True)
    gradients = torch.func.vmap(torch.func.grad_and_value(_loss), in_dims=(0, None))

    def one_by_one() -> np.ndarray:
        totals = torch.zeros(len(models), device=_DEVICE)
        for index, (model, adam) in enumerate(zip(models, optimizers, strict=True)):
            for batch in batches:
                loss = _loss(model, _unit_interval(pictures[batch]))
                adam.zero_grad()
                loss.backward()
                adam.step()
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
    """Return functions that give mean losses [P] of kernels [P, I, O] on images uint8 [N, I]."""
    stacked, pictures = torch.tensor(kernels).to(_DEVICE), torch.tensor(images).to(_DEVICE)
    batched_losses = torch.func.vmap(_loss, in_dims=(0, None))

    def mean(losses: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
        totals = torch.zeros(len(stacked), device=_DEVICE)
        with torch.inference_mode():
            for batch in pictures.split(SCORE_BATCH):
                totals += len(batch) * losses(_unit_interval(batch))
        return (totals / len(pictures)).cpu().numpy()

    def one_by_one() -> np.ndarray:
        return mean(lambda inputs: torch.stack([_loss(kernel, inputs) for kernel in stacked]))

    def together() -> np.ndarray:
        return mean(lambda inputs: batched_losses(stacked, inputs))

    return {"torch loop": one_by_one, "torch vmap": together}


def _unit_interval(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float() / 255


def _loss(kernel: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.mse_loss(torch.tanh(inputs @ kernel) @ kernel.T, inputs)
