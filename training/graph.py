"""A training step as one CUDA graph: the device gets all its kernels at once, however slow Python is."""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cifar_models.errors import reason
from training.augment import Views
from training.optimizer import prepare_for_graph

Step = Callable[[Views, Views], tuple[Tensor, Tensor]]

_WARM_UP = 3  # steps in which libraries choose their kernels, and optimizers make their state


class GraphedStep:
    """`step(batch, partner)`, from the fourth call on replayed as it was captured; learning rates may change.

    It must be the same step in every call. Batches must keep their size, and all that the step reads and writes its
    place in memory. A step that cannot be captured is taken as it is, and a warning says why.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer], device: torch.device) -> None:
        self._optimizers = optimizers
        self._warm_up = _WARM_UP
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._can_capture = True

    def __call__(self, step: Step, batch: Views, partner: Views) -> tuple[Tensor, Tensor]:
        if self._warm_up:
            self._warm_up -= 1
            return self._aside(step, batch, partner)
        if self._graph is None and self._can_capture:
            self._capture(step, batch, partner)
        if self._graph is None:
            return step(batch, partner)
        torch._foreach_copy_(self._inputs, [*batch, *partner])
        self._graph.replay()
        return self._loss.clone(), self._correct.clone()

    def _aside(self, step: Step, batch: Views, partner: Views) -> tuple[Tensor, Tensor]:
        """On a stream of its own, as what is captured later is too."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            found = step(batch, partner)
        current.wait_stream(self._stream)
        return found

    def _capture(self, step: Step, batch: Views, partner: Views) -> None:
        copies = [Views(*(each.clone() for each in views)) for views in (batch, partner)]
        self._inputs = [each for views in copies for each in views]
        prepare_for_graph(self._optimizers)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._loss, self._correct = step(*copies)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._give_up(error.__context__ or error)  # what ends the capture only says that there was an error
        else:
            self._graph = graph

    def _give_up(self, error: BaseException) -> None:
        """Go on with the step as it is, as if it had not been tried."""
        self._can_capture = False
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)  # these gradients were never computed
        renew_generator(self._stream.device)
        warnings.warn(f"This step is no CUDA graph, and slower: {reason(error)}", stacklevel=3)


def renew_generator(device: torch.device) -> None:
    """Let the device's random numbers begin anew from their seed, as a capture that failed may keep their generator."""
    generator = torch.cuda.default_generators[device.index]
    generator.graphsafe_set_state(torch.Generator(device).manual_seed(generator.initial_seed()))
