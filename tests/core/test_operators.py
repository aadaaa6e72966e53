# SPDX-License-Identifier: Apache-2.0
"""Python's operators on tasks."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import pytest

from strongroom import Constant, Flow, task, unmapped
from strongroom._memory_backend import MemoryBackend
from strongroom.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom import State, Task

BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor", "lt", "le", "gt", "ge"]


def outcome(build: Callable[[], Task]) -> State:
    with Flow("f") as f:
        last = build()
    return f.run(backend=MemoryBackend()).result[last]  # type: ignore[index, no-any-return]


def value(number: object) -> Task:
    return Constant(number).copy()


@pytest.mark.parametrize("name", BINARY)
def test_an_operator_gives_what_python_gives_on_both_sides(name: str) -> None:
    function = getattr(operator, name)

    assert outcome(lambda: function(value(7), value(2))).result == function(7, 2)
    assert outcome(lambda: function(value(7), 2)).result == function(7, 2)
    assert outcome(lambda: function(7, value(2))).result == function(7, 2)


@pytest.mark.parametrize("name", ["neg", "pos", "invert", "abs"])
def test_an_operator_of_one_operand_gives_what_python_gives(name: str) -> None:
    function = getattr(operator, name)

    assert outcome(lambda: function(value(-7))).result == function(-7)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: value(5).is_equal(5), True),
        (lambda: value(5).is_not_equal(value(5)), False),
        (lambda: value(0).and_(7), 0),
        (lambda: value(0).or_(7), 7),
        (lambda: value(0).not_(), True),
        (lambda: value([1, 2, 3])[value(1)], 2),
        (lambda: value([1, 2, 3])[1:], [2, 3]),
        (lambda: value({"a": 5})["a"] + 1, 6),
        (lambda: (1,) + value((2,)), (1, 2)),  # noqa: RUF005  # it is the operator that is tested
        (lambda: 10 - value(1) * 2 ** value(3), 2),
    ],
)
def test_other_operators_and_expressions_work(build: Callable[[], Task], expected: object) -> None:
    assert outcome(build).result == expected


def test_matrix_products_are_left_to_the_operands() -> None:
    class Matrix:
        def __matmul__(self, other: object) -> str:
            return "product"

    assert outcome(lambda: value(Matrix()) @ 1).result == "product"
    assert outcome(lambda: Matrix.__new__(Matrix) and value(1).__rmatmul__(Matrix())).result == "product"


def test_tasks_stay_keys_since_equality_is_identity() -> None:
    first, second = value(1), value(1)

    assert first == first  # noqa: PLR0124
    assert first != second
    assert len({first: 1, second: 2}) == 2


def test_the_name_of_an_operation_says_nothing_about_its_values() -> None:
    with Flow("f") as f:
        added = value({"hunter2": 1})["hunter2"] + 31337

    names = {each.name for each in f.tasks}
    assert names == {"constant", "getitem", "add"}
    assert added.slug == "add"


def test_an_operation_that_fails_is_a_failed_task() -> None:
    state = outcome(lambda: value(1) + "a")

    assert state.is_failed()
    assert isinstance(state.result, TypeError)


@task
def one() -> int:
    return 1


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: bool(one()), "known when the flow is run"),
        (lambda: 1 if one() else 2, "instead of `if`"),
        (lambda: 1 < one() < 2, "a < b < c"),
        (lambda: not one(), "and_, or_ and not_"),
        (lambda: 1 in one(), "known when the flow is run"),
        (lambda: list(one()), "cannot be unpacked"),
        (lambda: sorted([one(), one()]), "known when the flow is run"),
        (lambda: one() + unmapped(1), r"unmapped\(\.\.\.\)"),
        (lambda: one()[: one()], "slice cannot have tasks"),
    ],
)
def test_what_would_need_the_result_at_once_is_refused(build: Callable[[], object], words: str) -> None:
    with Flow("f"), pytest.raises(DefinitionError, match=words):
        build()


@pytest.mark.parametrize(
    "build", [lambda: one() >> one(), lambda: one() << 1, lambda: divmod(one(), 2), lambda: len(one())]
)
def test_operators_that_tasks_do_not_have_are_type_errors(build: Callable[[], object]) -> None:
    with Flow("f"), pytest.raises(TypeError):
        build()


def test_an_operator_outside_of_a_flow_says_what_to_do() -> None:
    with pytest.raises(DefinitionError, match="operator 'add' was used on a task outside of a flow"):
        one + 1
    with pytest.raises(DefinitionError, match="'pair' was unpacked outside of a flow"):
        list(task(lambda: (1, 2), nout=2, name="pair"))
