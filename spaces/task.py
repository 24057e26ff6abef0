"""The tasks that networks are built for: a dataset with its image size, channels and classes."""

from __future__ import annotations

from dataclasses import dataclass

FULL_EPOCHS = 200  # one full training in NAS-Bench-201


class UnknownDataset(ValueError):
    """No task has this dataset; the message lists the known ones."""


@dataclass(frozen=True, slots=True)
class Task:
    """A classification task. Images are square, `image_size` pixels a side."""

    dataset: str
    image_size: int
    image_channels: int
    classes: int
    full_epochs: int = FULL_EPOCHS  # of one full training, after which a table gives its accuracies

    @property
    def chance(self) -> float:
        """Accuracy [%] of random guessing."""
        return 100.0 / self.classes


TASKS = {
    task.dataset: task
    for task in (
        Task("cifar10", image_size=32, image_channels=3, classes=10),
        Task("cifar100", image_size=32, image_channels=3, classes=100),
        Task("ImageNet16-120", image_size=16, image_channels=3, classes=120),
        Task("digits201", image_size=8, image_channels=1, classes=10, full_epochs=6),
        Task("digits", image_size=8, image_channels=1, classes=10),
        Task("fashion-mnist", image_size=28, image_channels=1, classes=10),
        Task("tiny-imagenet", image_size=64, image_channels=3, classes=200),
        Task("imagenet", image_size=224, image_channels=3, classes=1000),
        Task("closed-form", image_size=32, image_channels=3, classes=10),
    )
}


def task_of(dataset: str) -> Task:
    """Return the task of a dataset. Raises UnknownDataset, which lists the known names."""
    if dataset in TASKS:
        return TASKS[dataset]
    raise UnknownDataset(f"unknown dataset '{dataset}'; choose one of {', '.join(TASKS)}")
