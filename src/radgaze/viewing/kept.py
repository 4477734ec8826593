"""Items in memory: those that were used last, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Kept(Generic[Item]):
    """Items by key, of a bounded total size; those that were used longest ago make room.

    An item larger than the whole is not kept.

    Args:
        most: Most bytes.
        size: Function that gives the bytes of an item.
    """

    def __init__(self, most: int, size: Callable[[Item], int]) -> None:
        self.most, self.bytes, self._size = most, 0, size
        self._items: OrderedDict[Hashable, Item] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Hashable) -> Item | None:
        """Return an item, which counts as used; None where there is none."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: Hashable, item: Item) -> None:
        """Keep an item in place of any with the same key."""
        self.drop(lambda other: other == key)
        with self._lock:
            self._items[key] = item
            self.bytes += self._size(item)
            while self.bytes > self.most:
                self.bytes -= self._size(self._items.popitem(last=False)[1])

    def drop(self, is_dropped: Callable[[Hashable], bool]) -> None:
        """Forget the items with such keys."""
        with self._lock:
            for key in [key for key in self._items if is_dropped(key)]:
                self.bytes -= self._size(self._items.pop(key))
