"""The values of a policy file as types: what each may look like, and the sentence that says so. The JSON Schema's forms
come from here too.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic_core import core_schema

from vending.acr.names import COMPONENT_PATTERN, MAX_NAME_LENGTH
from vending.policy.providers.presets import PRESETS
from vending.settings import SECRET_PREFIX

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

T = TypeVar("T")

NAME: Final = r"^[A-Za-z0-9._-]{1,64}$"
REGISTRY_NAME: Final = r"^[a-z0-9-]{1,64}$"
HOST: Final = r"^(\[::1\]|[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)(:[1-9][0-9]{0,4})?$"
GUID: Final = r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"
URL: Final = r"^https?://[A-Za-z0-9\-._~:/\[\]!$&'()*+,;=%]+$"
DURATION: Final = r"^[1-9][0-9]{0,6}[smhd]$"
SECRET: Final = rf"^{SECRET_PREFIX}[A-Za-z0-9_]+$"
MOMENT: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}Z)?$"
LINT_CODE: Final = r"^[a-z_]{1,64}$"
FILE_NAME: Final = r"^[^/\\\x00-\x1f\x7f.][^/\\\x00-\x1f\x7f]{0,254}$"
IDENTITY_RESOURCE: Final = (
    r"^/subscriptions/[0-9A-Fa-f-]{36}/[Rr]esource[Gg]roups/[^/]+/providers/"
    r"[Mm]icrosoft\.[Mm]anaged[Ii]dentity/[Uu]ser[Aa]ssigned[Ii]dentities/[^/]+$"
)
REPOSITORY: Final = rf"^{COMPONENT_PATTERN}(?:/{COMPONENT_PATTERN})*$"
VISIBLE: Final = r"^[^\x00-\x1f\x7f]+$"
MAX_TEXT: Final = 4096
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Says:
    """Replace whatever error a type gives by one sentence that says what to write; `also` goes into the schema."""

    def __init__(self, sentence: str, code: str = "value", also: dict[str, Any] | None = None) -> None:
        self.sentence = sentence
        self.code = code
        self.also = also or {}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            handler(source), custom_error_type=self.code, custom_error_message=self.sentence
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), **self.also}


def _only_true(value: bool) -> bool:
    if not value:
        raise ValueError("only true means something here")
    return value


_NO_THREE_STARS: Final[dict[str, Any]] = {"not": {"pattern": r"\*{3}"}}


def _one_or_many(value: object) -> str:
    return "many" if isinstance(value, list) else "one"


class _OneOrMany(Generic[T]):
    """`T`, or a list of at least one."""

    def __class_getitem__(cls, item: Any) -> Any:
        return Annotated[
            Annotated[item, Tag("one")] | Annotated[list[item], Field(min_length=1), Tag("many")],
            Discriminator(_one_or_many),
        ]


if TYPE_CHECKING:
    OneOrMany: TypeAlias = T | list[T]
else:
    OneOrMany = _OneOrMany


Name: TypeAlias = Annotated[str, Field(pattern=NAME), Says("a name is 1 to 64 of A-Z a-z 0-9 . _ -")]
RegistryName: TypeAlias = Annotated[
    str, Field(pattern=REGISTRY_NAME), Says("a registry's name is 1 to 64 of a-z 0-9 -")
]
Host: TypeAlias = Annotated[
    str,
    Field(pattern=HOST, max_length=259),
    Says("write a host in lower case, as in contoso.azurecr.io, without https://"),
]
Guid: TypeAlias = Annotated[str, Field(pattern=GUID), Says("write a GUID, 00000000-0000-0000-0000-000000000000")]
Url: TypeAlias = Annotated[
    str, Field(pattern=URL, max_length=1024), Says("write an https URL without query, fragment or user")
]
Duration: TypeAlias = Annotated[
    str, Field(pattern=DURATION), Says("write a number and a unit: s, m, h or d, as in 15m")
]
Secret: TypeAlias = Annotated[
    str, Field(pattern=SECRET), Says(f"write the name of an app setting that begins with {SECRET_PREFIX}")
]
Text: TypeAlias = Annotated[
    str, Field(pattern=VISIBLE, max_length=MAX_TEXT), Says("write text of 1 to 4096 characters on one line")
]
Prose: TypeAlias = Annotated[str, Field(max_length=MAX_TEXT), Says("write text of at most 4096 characters")]
RelativeFile: TypeAlias = Annotated[
    str,
    Field(pattern=r"^[^/\\\x00-\x1f\x7f][^\\\x00-\x1f\x7f]*$", max_length=1024),
    Says("write the path of a file, relative to the policy file"),
]
Integer: TypeAlias = Annotated[int, Field(ge=-(2**63), lt=2**63)]
ConditionText: TypeAlias = Annotated[
    str,
    Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=MAX_TEXT),
    Says("write text of at most 4096 characters on one line", also=_NO_THREE_STARS),
]
Scalar: TypeAlias = Annotated[
    ConditionText | bool | Integer,
    Says("a condition compares with text, true or false, or a whole number; put quotes around anything else"),
]


class Strict(BaseModel):
    """Accept exactly what is declared, of exactly the declared type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class InList(Strict):
    """Any value of a list of the policy."""

    name: Annotated[Name, Field(alias="in", description="The list, by its name under lists.")]


class Absent(Strict):
    """No value: the claim is missing or null."""

    absent: Annotated[
        bool,
        AfterValidator(_only_true),
        Field(description="true: the claim is missing or null."),
        Says("write absent: true; for a claim that must be there, write its values", also={"const": True}),
    ]


def _kind_of_value(value: object) -> str:
    """Name the form of a condition's value; the names occur in no policy."""
    if isinstance(value, list):
        return "<list>"
    if isinstance(value, dict):
        return "<in>" if "in" in value else "<absent>" if "absent" in value else "<value>"
    return "<in>" if isinstance(value, InList) else "<absent>" if isinstance(value, Absent) else "<value>"


ConditionValue: TypeAlias = "Scalar | list[Scalar] | InList | Absent"
if TYPE_CHECKING:
    _ConditionValue: TypeAlias = ConditionValue
else:
    _ConditionValue = Annotated[
        Annotated[Scalar, Tag("<value>")]
        | Annotated[list[Scalar], Field(min_length=1), Tag("<list>")]
        | Annotated[InList, Tag("<in>")]
        | Annotated[Absent, Tag("<absent>")],
        Discriminator(_kind_of_value),
    ]
Conditions: TypeAlias = Annotated[dict[Text, _ConditionValue], Field(min_length=1)]
WhenAny: TypeAlias = Annotated[list[Conditions], Field(min_length=1)]
Action: TypeAlias = Literal["pull", "push", "delete", "metadata_read", "metadata_write"]
Actions: TypeAlias = Annotated[list[Action], Field(min_length=1)]
RepositoryName: TypeAlias = Annotated[
    str,
    Field(pattern=REPOSITORY, max_length=MAX_NAME_LENGTH),
    Says(
        "write a repository name: lower-case letters and digits, joined by . _ __ or -, in parts joined by /",
        "repository",
    ),
]
RepositoryPattern: TypeAlias = Annotated[
    str,
    Field(pattern=r"^[a-z0-9._/*-]+$", max_length=1024),
    Says(
        "write a repository name or a pattern with * and **, in lower case; templates are for rules",
        "repository",
        _NO_THREE_STARS,
    ),
]
RepositoryEntry: TypeAlias = Annotated[
    str,
    Field(pattern=r"^([a-z0-9._/*-]|\{[^{}]+\})+$", max_length=1024),
    Says(
        "write a repository name, a pattern with * and **, or a template with {claim}, in lower case",
        "repository",
        _NO_THREE_STARS,
    ),
]
Repositories: TypeAlias = Annotated[list[RepositoryEntry], Field(min_length=1)]
RepositoryPatterns: TypeAlias = Annotated[list[RepositoryPattern], Field(min_length=1)]
if TYPE_CHECKING:
    MapValue: TypeAlias = str | list[str]
else:
    MapValue = Annotated[
        Annotated[RepositoryName, Tag("one")] | Annotated[RepositoryPatterns, Tag("many")],
        Discriminator(_one_or_many),
    ]
Algorithm: TypeAlias = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
if TYPE_CHECKING:
    PresetName: TypeAlias = str
else:
    PresetName = Literal[tuple(PRESETS)]
Moment: TypeAlias = Annotated[
    datetime.datetime | datetime.date | Annotated[str, Field(pattern=MOMENT)],
    Says("write a day as YYYY-MM-DD, or a time in UTC to the minute as YYYY-MM-DDTHH:MMZ"),
]
Accepted: TypeAlias = Annotated[
    dict[
        Annotated[str, Field(pattern=LINT_CODE), Says("write the code of a warning, as check prints it")],
        Annotated[str, Field(min_length=1, max_length=MAX_TEXT), Says("write the reason, for whoever reads this")],
    ],
    Field(min_length=1),
]


def seconds(duration: str) -> int:
    """Turn `15m` and its like into seconds."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


def moment(value: datetime.date | str) -> datetime.date:
    """Turn a value of `expires` or `not_before` into a day, or a time in UTC.

    Raises `ValueError` for one that the calendar does not have.
    """
    if not isinstance(value, str):
        return value
    return datetime.datetime.fromisoformat(value) if "T" in value else datetime.date.fromisoformat(value)


def as_list(value: T | list[T]) -> list[T]:
    """Turn one or many into many."""
    return value if isinstance(value, list) else [value]
