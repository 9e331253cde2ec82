"""Prompts for the shipped model: beginnings of Python code, of uneven length."""

CODE_PROMPTS = (
    '''def mean(data):
    """Return the arithmetic mean of data."""
    total = 0
    count = 0
    for value in data:
        total += value
        count += 1
    if count == 0:
        raise ValueError("mean requires at least one data point")
    return total / count


def median(data):
    """Return the median of data."""
    data = sorted(data)
    n = len(data)
''',
    '''class Stack:
    """A last-in, first-out queue."""

    def __init__(self, items=()):
        self._items = list(items)

    def push(self, item):
        """Add an item."""
        self._items.append(item)

    def pop(self):
        """Remove and return the item that was added last."""
        if not self._items:
            raise IndexError("pop from an empty stack")
        return self._items.pop()

    def __len__(self):
''',
    '''import os
import sys

def main():
    """Print the size of every file named on the command line."""
    for name in sys.argv[1:]:
        try:
            size = os.path.getsize(name)
        except OSError as err:
            print("cannot read", name, err, file=sys.stderr)
''',
    '''    def read(self, size=-1):
        """Read and return up to size bytes.

        If the argument is omitted, None, or negative, read and
        return all data until EOF.
        """
        self._check_not_closed()
        if size is None:
            size = -1
        if size < 0:
''',
    """    def test_empty(self):
        self.assertEqual(self.parse(""), [])
        self.assertEqual(self.parse(" "), [])

    def test_one(self):
""",
    '''def fibonacci(n):
    """Return the first n Fibonacci numbers."""
    result = []
    a, b = 0, 1
    while len(result) < n:
''',
    '''from collections import namedtuple
import functools

Point = namedtuple("Point", ["x", "y"])

@functools.lru_cache(maxsize=None)
def distance(a, b):
    """Return the squared distance of two points."""
    dx = a.x - b.x
    dy = a.y - b.y
''',
    '''try:
    import json
except ImportError:
    json = None

def load(path, default=None):
    """Load an object from a file, or return the default."""
    if not os.path.exists(path):
        return default
    with open(path, encoding="utf-8") as f:
''',
)
