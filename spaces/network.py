"""The check that images have the shape that a network was built for."""

from __future__ import annotations

from torch import Tensor

from budgetnas.spaces.task import Task


class WrongImages(ValueError):
    """The images do not have the shape that the network was built for; the message gives the right shape."""


def check_images(images: Tensor, task: Task) -> None:
    """Raise WrongImages unless `images` have the shape (N, channels, side, side) of the task."""
    expected = (task.image_channels, task.image_size, task.image_size)
    if tuple(images.shape[1:]) != expected or images.dim() != 4:
        raise WrongImages(
            f"the images have the shape {tuple(images.shape)}; a network for {task.dataset} takes (N, {', '.join(map(str, expected))}):"
            " build the network for the task of these images, or resize them"
        )
