# SPDX-License-Identifier: Apache-2.0
"""Do objects of the classes that a reader names come back as they were, and of no others?"""

from __future__ import annotations

import enum
import math
import pickle
import sys
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import SerializationError, SettingsError
from strongroom.testing import SerializerTests, difference, vector
from strongroom_json import JSON

VECTOR = Path(__file__).parents[3] / "tests" / "vectors" / "json" / "objects.json"


class Color(enum.Enum):
    RED = "r"
    GREEN = (1, 2)
    ALSO_RED = "r"  # noqa: PIE796  # another name of the same member


class Level(enum.IntEnum):
    LOW = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Item:
    name: object
    price: object = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    items: object
    color: object = Color.RED
    total: int = field(init=False, default=0)


@dataclass
class Rounded:
    """Makes something else of what it is given."""

    value: object

    def __post_init__(self) -> None:
        self.value = int(self.value)  # type: ignore[call-overload]  # that is the point


@dataclass
class Forgetful:
    """Takes what it does not keep."""

    value: InitVar[int]


@dataclass
class Picky:
    value: object

    def __post_init__(self) -> None:
        if self.value == "bad":
            raise RuntimeError("secret")


@dataclass
class MoreThanFields(dict):  # type: ignore[type-arg]  # any
    x: int = 0


class Customer(pydantic.BaseModel):
    name: str = pydantic.Field(alias="customerName")
    scores: list[float] = []
    since: datetime | None = None
    favourite: Item | None = None


class Open(pydantic.BaseModel, extra="allow"):
    x: int


class Secretive(pydantic.BaseModel):
    x: int
    _note: str = pydantic.PrivateAttr("")


CLASSES = (Color, Level, Rights, Item, Order, Rounded, Forgetful, Picky, Customer, Open, Secretive)
SERIALIZER = JSON(classes=CLASSES)

HAS_A_NOTE = Secretive(x=1)
HAS_A_NOTE._note = "something"
HAS_MORE = Item(1)
HAS_MORE.more = 2  # type: ignore[attr-defined]  # that is the point
CHANGED = Rounded(1)
CHANGED.value = 1.5
CUSTOMER = Customer(customerName="Ünal", scores=[1.5, math.inf], since=datetime(2026, 1, 31, tzinfo=UTC))


class TestWithClasses(SerializerTests):
    serializer = SERIALIZER
    values = (
        *(Color.RED, Color.GREEN, Color.ALSO_RED, Level.LOW, Rights.READ, [Color.RED], {Color.RED: {Level.LOW}}),
        *(Item("a"), Item((1, {2: Decimal("1.10")}), math.nan), [Item(1), Item(Item(Item(2)))], {"$Object": Item(1)}),
        *(Order(items=[Item("a")]), {Order(items=(1,), color=Color.GREEN): 1}, Item({"$Enum": ["Color", "RED"]})),
        *(CUSTOMER, Customer(customerName="b", favourite=Item("c")), [Open(x=1)], Secretive(x=2), Picky("good")),
        {"$Object": ["Item", {"name": 1}], "$Enum": ["Color", "RED"]},
    )
    refused = (
        *(Rights.READ | Rights.WRITE, Rights(0), CHANGED, Forgetful(1), HAS_MORE, HAS_A_NOTE, Open(x=1, y=2)),  # type: ignore[call-arg]
        *(Customer.model_construct(name="d", scores=["text"]), Item(object()), [Item({1: [{2}]}), Item(Item(print))]),
    )

    def difference(self, expected: object, actual: object) -> str | None:
        if isinstance(expected, pydantic.BaseModel):
            same = type(expected) is type(actual) and repr(expected) == repr(actual) and expected == actual
            return None if same else "another model"
        return difference(expected, actual)


def test_which_fields_of_a_model_were_set_comes_back() -> None:
    for model in (CUSTOMER, Customer(customerName="b"), Customer(customerName="b", scores=[])):
        again = SERIALIZER.loads(SERIALIZER.dumps(model))

        assert isinstance(again, Customer)
        assert again.model_fields_set == model.model_fields_set


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ([Item(1), Item(print)], "$[1].name"),
        ({"items": (1, 2, Order(items=[Item(1), Item(1, price=print)]))}, "$.items[2].items[1].price"),
        ([{"price": CHANGED}], "$[0].price"),
    ],
)
def test_the_place_goes_into_objects(value: object, where: str) -> None:
    with pytest.raises(SerializationError) as caught:
        SERIALIZER.dumps(value)

    assert caught.value.where == where


def test_a_class_that_was_not_named_is_refused_with_what_to_do() -> None:
    for value in (Color.RED, Item(1), CUSTOMER):
        with pytest.raises(SerializationError, match=r"JSON was not told of; name it: JSON\(classes="):
            JSON().dumps(value)


@pytest.mark.parametrize("value", [Color.RED, Item(1), CUSTOMER])
def test_a_reader_that_does_not_name_the_class_reads_nothing(value: object) -> None:
    stored = SERIALIZER.dumps([value])

    with pytest.raises(SerializationError, match=r"this reader was not told of; name it: JSON\(classes="):
        JSON(classes=[Order]).loads(stored)


def test_a_subclass_is_another_class() -> None:
    class Special(Item):
        pass

    with pytest.raises(SerializationError, match="Special is a class that JSON was not told of"):
        SERIALIZER.dumps(Special(1))


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        ([int], "int is none"),
        ([Path], "Path is none"),
        ([MoreThanFields], "more in it than its fields"),
        ([Item, dataclass(type("Item", (), {"__qualname__": "Item"}))], "two of the classes for JSON are called Item"),
    ],
)
def test_classes_that_cannot_be_kept_are_refused_at_once(classes: list[type], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        JSON(classes=classes)


@pytest.mark.parametrize(
    "stored",
    [
        *(b'{"$Object":1}', b'{"$Object":[]}', b'{"$Object":["Item"]}', b'{"$Object":["Item",[]]}'),
        *(b'{"$Object":["Item",{"nam":1}]}', b'{"$Object":["Item",{"name":1,"__class__":2}]}'),
        *(b'{"$Object":["Item",{"name":1},["name"],1]}', b'{"$Object":["Color",{"value":"r"}]}'),
        *(b'{"$Object":["Item",{"name":1},["name"]]}', b'{"$Object":[["Item"],{"name":1}]}'),
        *(b'{"$Object":["os.system",{"command":"true"}]}',),
        *(b'{"$Object":["Customer",{"name":1,"scores":[],"since":null,"favourite":null}]}',),
        *(b'{"$Object":["Customer",{"customerName":"a"}]}', b'{"$Object":["Picky",{"value":"bad"}]}'),
        *(b'{"$Object":["Open",{"x":1},["y"]]}', b'{"$Object":["Open",{"x":1},5]}', b'{"$Object":["Open",{"x":"1"}]}'),
        *(b'{"$Enum":["Color","BLUE"]}', b'{"$Enum":["Color","r"]}', b'{"$Enum":["Color","__class__"]}'),
        *(b'{"$Enum":["Item","name"]}', b'{"$Enum":["Color"]}', b'{"$Enum":["Color",["RED"]]}', b'{"$Enum":"Color"}'),
        *(b'{"$Enum":["os","name"]}', b'{"$Enum":[1,2]}'),
    ],
)
def test_what_the_writer_would_not_have_written_is_refused_and_not_quoted(stored: bytes) -> None:
    before = set(sys.modules)

    with pytest.raises(SerializationError) as caught:
        SERIALIZER.loads(stored + b"\n")

    assert "secret" not in str(caught.value)
    assert "bad" not in str(caught.value)
    assert set(sys.modules) == before


def test_it_travels_with_its_classes() -> None:
    clone = pickle.loads(pickle.dumps(SERIALIZER))

    assert clone.loads(SERIALIZER.dumps(Color.RED)) is Color.RED


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([*Color, *Level])


@given(
    st.recursive(
        PLAIN,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.builds(Item, inner, inner)
            | st.builds(lambda items: Order(items=items), inner)
            | st.dictionaries(st.text("$Object", max_size=3), inner, max_size=3)
            | st.builds(lambda name, scores: Customer(customerName=name, scores=scores), st.text(), st.just([0.5]))
        ),
        max_leaves=8,
    )
)
def test_any_value_with_objects_comes_back(value: object) -> None:
    stored = SERIALIZER.dumps(value)

    assert SERIALIZER.dumps(SERIALIZER.loads(stored)) == stored
    assert difference(value, SERIALIZER.loads(stored)) is None


def test_many_levels_of_objects_take_no_time_that_doubles_with_each() -> None:
    value: object = 1
    for _ in range(60):
        value = Item(value)

    assert difference(value, SERIALIZER.loads(SERIALIZER.dumps(value))) is None


def test_what_was_written_once_is_read_for_ever() -> None:
    value = {"order": Order(items=[Item("a", Decimal("1.10"))], color=Color.GREEN), "level": Level.LOW, "c": CUSTOMER}

    stored = vector(VECTOR, lambda: SERIALIZER.dumps(value))

    assert stored == SERIALIZER.dumps(value)
    assert SERIALIZER.loads(stored) == value
