"""Numbers that commands take: what is none, or cannot be, is refused with its option and value."""

from argparse import Namespace

import pytest

from cifar_models.command import Parser, amount, count
from cifar_models.errors import InputError


def parse(line: str) -> Namespace:
    parser = Parser(prog="bench")
    parser.add_argument("--rounds", type=count)
    parser.add_argument("--seconds", type=amount)
    return parser.parse_args(line.split(" "))


def test_a_number_is_read() -> None:
    assert parse("--rounds 12 --seconds 2e-1") == Namespace(rounds=12, seconds=0.2)


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "many", "", "1e3", "²"])
def test_a_count_is_a_whole_number_above_0(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse(f"--rounds={text}")
    assert str(error.value).startswith(f"argument --rounds: {text!r} is no whole number above 0; ")


@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "long", ""])
def test_an_amount_is_a_finite_number_above_0(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse(f"--seconds={text}")
    assert str(error.value).startswith(f"argument --seconds: {text!r} is no finite number above 0; ")
