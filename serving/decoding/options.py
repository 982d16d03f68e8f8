"""What a request may ask for besides predictions. Knows no HTTP."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from serving.errors import Unacceptable

T = TypeVar("T")


class Options(BaseModel):
    """What a request may ask for, in its query, its form fields or its JSON object."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(default=None, description="Name of a bundle; the server's default one if absent")
    top_k: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Only the probabilities of this many labels, best first; of all labels if absent"
    )
    strict: bool = Field(default=False, description="Refuse pictures that are not 32x32; else they are resized")
    pixels: bool = Field(default=False, description="Answer also with the 32x32 pixels that the network saw")

    @field_validator("top_k", mode="before")
    @classmethod
    def _is_no_bool(cls, value: Any) -> Any:
        if isinstance(value, bool):  # Python, and so pydantic, counts true as 1
            raise ValueError("it is a count of labels")
        return value


def by_name(pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """What a query or a form says. Raises Unacceptable where it says something twice: nobody knows which is meant."""
    found: dict[str, T] = {}
    for name, value in pairs:
        if name in found:
            raise Unacceptable(f"{name!r} is given twice; an option is given once.")
        found[name] = value
    return found


def parse_options(query: Mapping[str, str], fields: Mapping[str, Any] | None = None) -> Options:
    """Options of the query and, over them, of the body. Raises Unacceptable that names the option at fault."""
    if not query and not fields:
        return _DEFAULTS
    try:
        return Options.model_validate({**query, **(fields or {})})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = next(iter(first["loc"]), "an option's name")
        if first["type"] == "extra_forbidden":
            known = ", ".join(Options.model_fields)
            raise Unacceptable(f"{name!r} is no option. There are: {known}; files are named images.") from error
        raise Unacceptable(f"{name}={first['input']!r} cannot be used: {first['msg']}.") from error


_DEFAULTS = Options()
