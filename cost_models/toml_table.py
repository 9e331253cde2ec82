"""A reader of one table of a hardware file; its errors name file, key, what was given, what is accepted."""

import difflib
import math
from collections.abc import Mapping
from typing import Any

from cost_models.checks import is_number
from cost_models.errors import HardwareError


class TomlTable:
    """One table under reading: every key asked for is remembered, so that the rest can be told as unknown.

    A sourced number is written ``key = { value = 48e9, source = "RTX A6000 datasheet" }``.
    """

    def __init__(self, data: Mapping[str, Any], file: str, path: str, sources: dict[str, str]) -> None:
        self._data = data
        self._file = file
        self._path = path
        self._sources = sources
        self._asked: list[str] = []

    @property
    def file(self) -> str:
        """Returns what names the file in errors."""
        return self._file

    def error(self, key: str, given: object, expected: str) -> HardwareError:
        """Returns the error for a key whose value is not accepted."""
        where = f"{self._file}: {self._dotted(key)}"
        return HardwareError(f"{where} = {given!r} is not accepted: expected {expected}")

    def has(self, key: str) -> bool:
        """Tells whether an optional key is there."""
        self._asked.append(key)
        return key in self._data

    def table(self, key: str) -> "TomlTable":
        """Returns a table inside this one."""
        value = self._get(key, "table")
        if not isinstance(value, Mapping):
            raise self.error(key, value, "a table")
        return TomlTable(value, self._file, self._dotted(key), self._sources)

    def text(self, key: str) -> str:
        """Returns a text."""
        value = self._get(key, "key")
        if not isinstance(value, str):
            raise self.error(key, value, "a text")
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Returns true or false."""
        if default is not None and not self.has(key):
            return default
        value = self._get(key, "key")
        if not isinstance(value, bool):
            raise self.error(key, value, "true or false")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        """Returns a whole number of at least zero that needs no source, such as a number of devices."""
        if default is not None and not self.has(key):
            return default
        value = self._get(key, "key")
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.error(key, value, "a whole number of at least 0")
        return value

    def number(self, key: str) -> float:
        """Returns a sourced number."""
        return float(self._sourced(key))

    def optional_number(self, key: str) -> float | None:
        """Returns a sourced number, or None where the key is left out."""
        return self.number(key) if self.has(key) else None

    def whole(self, key: str) -> int:
        """Returns a sourced whole number."""
        value = self._sourced(key)
        if value != int(value):
            raise self.error(key, value, "a whole number")
        return int(value)

    def numbers(self) -> dict[str, float]:
        """Returns every entry of this table as a sourced number."""
        return {key: self.number(key) for key in self._data}

    def finish(self) -> None:
        """Raises an error for keys that nothing asked for."""
        for key in self._data:
            if key not in self._asked:
                close = difflib.get_close_matches(key, self._asked, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"accepted are {', '.join(self._asked)}"
                raise HardwareError(f"{self._file}: unknown key {self._dotted(key)!r}; {hint}")

    def _dotted(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _get(self, key: str, what: str) -> Any:
        self._asked.append(key)
        if key not in self._data:
            close = difflib.get_close_matches(key, list(self._data), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise HardwareError(f"{self._file}: missing {what} {self._dotted(key)!r}{hint}")
        return self._data[key]

    def _sourced(self, key: str) -> float:
        """Reads ``{ value, source }``, keeps the source under its dotted key and returns the value."""
        form = 'the form { value = NUMBER, source = "TEXT" }'
        entry = self._get(key, "key")
        if is_number(entry):
            raise HardwareError(
                f"{self._file}: {self._dotted(key)} = {entry!r} has no source; write {self._dotted(key)} = "
                f'{{ value = {entry!r}, source = "where the number comes from" }}'
            )
        if not isinstance(entry, Mapping) or "value" not in entry:
            raise self.error(key, entry, form)
        for name in entry:
            if name not in ("value", "source"):
                raise HardwareError(f"{self._file}: unknown key {self._dotted(key)}.{name}; expected {form}")
        value, source = entry["value"], entry.get("source")
        if not is_number(value) or not math.isfinite(value):
            raise self.error(key, value, "a finite number")
        if not isinstance(source, str) or not source.strip():
            raise HardwareError(f"{self._file}: {self._dotted(key)} has no source; expected {form}")
        self._sources[self._dotted(key)] = source
        return value
