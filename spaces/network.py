"""What every network of the project does with images that are not its task's: it refuses them in a line."""

from __future__ import annotations

from torch import Tensor

from budgetnas.spaces.task import Task


class WrongImages(ValueError):
    """Images of another shape than the network was built for; the message says which it takes."""


def check_images(images: Tensor, task: Task) -> None:
    """Raise `WrongImages` unless `images` have the shape (N, channels, side, side) of the task."""
    expected = (task.image_channels, task.image_size, task.image_size)
    if tuple(images.shape[1:]) != expected or images.dim() != 4:
        raise WrongImages(
            f"images of shape {tuple(images.shape)} were given; a network for {task.dataset} takes (N, {', '.join(map(str, expected))}):"
            " build it for the task of these images, or resize them"
        )
