"""What a run says that it computes in."""

import pytest
import torch

from training.precision import computes_in

TF32 = "float32, convolutions in TF32"  # as torch has it, unless it is told not to


@pytest.mark.parametrize(
    ("device", "dtype", "capability", "said"),
    [
        ("cuda", torch.float32, (9, 0), TF32),
        ("cuda", torch.float32, (8, 0), TF32),
        ("cuda", torch.float32, (7, 5), "float32"),  # it has none
        ("cuda", torch.bfloat16, (9, 0), "bfloat16"),
        ("cpu", torch.float32, None, "float32"),
    ],
)
def test_a_run_says_where_its_float32_is_tf32(
    monkeypatch: pytest.MonkeyPatch, device: str, dtype: torch.dtype, capability: tuple[int, int] | None, said: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert computes_in(dtype, torch.device(device)) == said


def test_a_run_to_which_tf32_is_forbidden_says_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        assert computes_in(torch.float32, torch.device("cuda")) == "float32"
