# SPDX-License-Identifier: Apache-2.0
"""Is each page of a Parquet file as large as what becomes of it? That is looked up before pyarrow reads the file.

A page that is compressed, or refers to a dictionary or to the value before, is refused, whatever becomes of it: a few
bytes of it could become anything. What is left are values as they are; only missing ones take no room.

What a file says of itself is in Thrift's compact protocol, and so is what stands before each page:
https://github.com/apache/parquet-format and https://github.com/apache/thrift/blob/master/doc/specs.
"""

from __future__ import annotations

from typing import Final, TypeAlias, cast

from strongroom_arrow._errors import PARQUET, PayloadError

__all__ = ["values_in"]

_Fields: TypeAlias = "dict[int, object]"
"""What a struct has, by the numbers of its fields."""

_END: Final = 8
_MAX_DEPTH: Final = 16
_DOUBLE_SIZE: Final = 8
_TRUE, _FALSE, _BYTE, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 6, 7, 8, 9, 10, 12
# The numbers of the fields that are looked at.
_GROUPS, _COLUMNS, _METADATA = 4, 1, 3
_CODEC, _VALUES, _SIZE, _START, _DICTIONARY = 4, 5, 7, 9, 11
_KIND, _UNPACKED_SIZE, _PAGE_SIZE, _PAGE = 1, 2, 3, 5
_PAGE_VALUES, _ENCODING = 1, 2


def values_in(content: memoryview) -> int:
    """How many values there are in all columns of *content* together, missing ones among them.

    Raises:
        PayloadError: it is no Parquet file that holds its values as they are.
    """
    end = len(content) - _END
    size = int.from_bytes(content[max(0, end) : end + 4], "little")
    if end - size < 0:
        raise _invalid()
    footer = _Thrift(content, end - size, end).struct()
    values = 0
    for group in _structs(footer.get(_GROUPS)):
        for column in _structs(group.get(_COLUMNS)):
            (metadata,) = _structs([column.get(_METADATA)])
            values += _values_of(content, metadata)
    return values


def _values_of(content: memoryview, column: _Fields) -> int:
    start, size, values = (_number(column.get(field)) for field in (_START, _SIZE, _VALUES))
    if _number(column.get(_CODEC)) or column.get(_DICTIONARY) is not None:
        raise PayloadError("it has compressed columns, which this plugin does not write", PARQUET)
    thrift, seen = _Thrift(content, start, min(start + size, len(content))), 0
    while not thrift.at_end():
        head = thrift.struct()
        length = _number(head.get(_PAGE_SIZE))
        page = {} if _number(head.get(_KIND)) else _structs([head.get(_PAGE)])[0]
        if page.get(_ENCODING) != 0 or length != _number(head.get(_UNPACKED_SIZE)):
            raise PayloadError("it has pages of a kind that this plugin does not write", PARQUET)
        thrift.skip(length)
        seen += _number(page.get(_PAGE_VALUES))
    # Were it fewer than are said to be there, pyarrow might look for others behind them.
    if seen != values:
        raise _invalid()
    return values


def _structs(values: object) -> list[_Fields]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise _invalid()
    return cast("list[_Fields]", values)


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise _invalid()
    return value


def _invalid() -> PayloadError:
    return PayloadError("it is not a whole and valid Parquet file", PARQUET)


class _Thrift:
    """Reads values of the compact protocol from *data*, one after the other, between two places."""

    def __init__(self, data: memoryview, start: int, end: int) -> None:
        self._data = data
        self._at = start
        self._end = end

    def at_end(self) -> bool:
        """True if there is nothing more."""
        return self._at >= self._end

    def skip(self, size: int) -> None:
        """Pass over so many bytes, which have to be there."""
        self._at += size
        if self._at > self._end:
            raise _invalid()

    def struct(self, depth: int = 0) -> _Fields:
        """The fields of a struct."""
        fields: _Fields = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else self._signed()
            # One that stands twice could be read differently by whoever passes over what it does not expect.
            if number in fields:
                raise _invalid()
            # Of a field that is true or false, the kind says which.
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> object:
        if depth > _MAX_DEPTH:
            raise _invalid()
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if _BYTE < kind <= _I64:
            return self._signed()
        if kind in (_DOUBLE, _BINARY):
            self.skip(_DOUBLE_SIZE if kind == _DOUBLE else self._unsigned())
            return None
        if kind in (_LIST, _SET):
            return self._list(depth)
        if kind == _STRUCT:
            return self.struct(depth + 1)
        raise _invalid()

    def _list(self, depth: int) -> list[object]:
        head = self._byte()
        size = head >> 4 if head >> 4 != 15 else self._unsigned()  # noqa: PLR2004  # it says that the size comes next
        if size > self._end - self._at:
            raise _invalid()
        return [self._value(head & 15, depth + 1) for _ in range(size)]

    def _byte(self) -> int:
        self.skip(1)
        return self._data[self._at - 1]

    def _unsigned(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:  # noqa: PLR2004  # the last one
                return value
        raise _invalid()

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
