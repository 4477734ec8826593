"""Where a transformer's tokens (B, N, C) lie in the image: some of a prefix, then one for each patch.

The prefix holds class and register tokens. The grid of the patches is that of the feature maps that the model
flattened to tokens in this forward pass, whatever its size was and however deep the transformer lies in the
model. Where none were seen, it follows from what the model says of itself, or from the shape of the images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from radgaze.attribution.engine.graph import channel_dim

Size = tuple[int, int]

MOST_PREFIX = 16
"""Most prefix tokens, of class and registers, beside a grid that was seen, if the model says no number."""

FEW_PREFIX = 5
"""Most prefix tokens where the grid has to be guessed as well."""


class GridError(RuntimeError):
    """Tokens that no grid is known for."""


@dataclass(frozen=True)
class TokenGrid:
    """The order of N = prefix + height · width tokens.

    Attributes:
        prefix: Number of tokens in front that are no patches.
        height: Rows of patches.
        width: Columns of patches.
    """

    prefix: int
    height: int
    width: int

    def maps(self, tokens: Tensor) -> Tensor:
        """The feature maps (B, C, h, w) of the patches among tokens (B, N, C)."""
        patches = tokens[:, self.prefix :].transpose(1, 2)
        return patches.unflatten(2, (self.height, self.width))  # type: ignore[no-untyped-call, no-any-return]

    def map(self, values: Tensor) -> Tensor:
        """The map (B, 1, h, w) of a value for each token (B, N)."""
        return self.maps(values[:, :, None])


def check_named(named: object) -> None:
    """Check the option `tokens`.

    Raises:
        ValueError: It is not three numbers of which a grid can be made.
    """
    if named is None:
        return
    whole = isinstance(named, Sequence) and all(isinstance(n, int) and not isinstance(n, bool) for n in named)
    if not (whole and isinstance(named, Sequence) and len(named) == 3 and named[0] >= 0 < min(named[1:])):
        raise ValueError(
            f"tokens is (prefix, h, w): the number of prefix tokens, and the grid of patches; not {named!r}"
        )


def grid_of(
    count: int,
    model: nn.Module,
    images: Size,
    flattened: Iterable[Tensor] = (),
    named: tuple[int, int, int] | None = None,
) -> TokenGrid:
    """Find the grid of `count` tokens.

    Args:
        count: Number of tokens N.
        model: The network, which may hold the transformer.
        images: Height and width of the images that it was called with.
        flattened: Feature maps whose places a function removed in this forward pass.
        named: Prefix, height and width as the user says.

    Raises:
        GridError: No grid is known that fits, or several are.
    """
    if named is not None:
        if named[0] + named[1] * named[2] != count:
            raise GridError(
                f"tokens={named} are {named[0]} + {named[1]} · {named[2]}, but there are {count} tokens"
            )
        return TokenGrid(*named)
    prefixes = set(_prefixes(model))
    seen, stated = list(_seen(flattened)), list(_stated(model, images))
    for sizes in (seen, stated, list(_alike(count, images, prefixes or range(FEW_PREFIX + 1)))):
        fitting = _fitting(count, sizes, prefixes)
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            break
    raise GridError(
        f"found no grid of {count} tokens: the images are {_by(images)}; {_found(prefixes, seen, stated)}"
        + (f"; several fit, {', '.join(map(_listed, fitting))}" if fitting else "")
        + ": name it, tokens=(prefix, h, w)"
    )


def _fitting(count: int, sizes: Iterable[Size], prefixes: set[int]) -> list[TokenGrid]:
    """The grids that a number of tokens fits: with as many prefix tokens as the model says, or else none.

    Some layers come before the prefix is put there.
    """
    grids = [TokenGrid(count - h * w, h, w) for h, w in dict.fromkeys(sizes)]
    grids = [grid for grid in grids if 0 <= grid.prefix <= max(MOST_PREFIX, *prefixes, 0)]
    for allowed in (prefixes, {0}):
        chosen = [grid for grid in grids if grid.prefix in allowed]
        if chosen:
            return chosen
    return [] if prefixes else grids


def _seen(flattened: Iterable[Tensor]) -> Iterator[Size]:
    for maps in flattened:
        dim = channel_dim(maps) if maps.dim() == 4 else None
        if dim in (1, 3):
            yield _size(maps.shape[2:] if dim == 1 else maps.shape[1:3])


def _stated(model: nn.Module, images: Size) -> Iterator[Size]:
    """The grids that parts of the model say they make, of these images or of those that it was made for."""
    for module in model.modules():
        for each in (module, getattr(module, "config", None)):
            patch = _pair(getattr(each, "patch_size", None))
            if patch is not None and min(patch) > 0:
                yield images[0] // patch[0], images[1] // patch[1]
                yield -(-images[0] // patch[0]), -(-images[1] // patch[1])  # padded
        grid = _pair(getattr(module, "grid_size", None))
        if grid is not None:
            yield grid


def _prefixes(model: nn.Module) -> Iterator[int]:
    """The numbers of prefix tokens that parts of the model name, as timm's and those of transformers do."""
    for module in model.modules():
        named = getattr(module, "num_prefix_tokens", None)
        registers = getattr(getattr(module, "config", None), "num_register_tokens", None)
        if isinstance(named, int):
            yield named
        if isinstance(registers, int):
            yield 1 + registers


def _alike(count: int, images: Size, prefixes: Iterable[int]) -> Iterator[Size]:
    """Grids in the proportions of the images that, with a prefix, have that number of tokens."""
    height, width = images
    for prefix in prefixes:
        patches = count - prefix
        for h in range(1, patches + 1):
            if h * h * width > patches * height:
                break
            if h * h * width == patches * height and patches % h == 0 and patches > prefix:
                yield h, patches // h


def _pair(value: object) -> Size | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value
    if isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(n, int) for n in value):
        return value[0], value[1]
    return None


def _size(shape: Sequence[int]) -> Size:
    return int(shape[0]), int(shape[1])


def _found(prefixes: set[int], seen: Sequence[Size], stated: Sequence[Size]) -> str:
    prefix = " or ".join(map(str, sorted(prefixes)))
    parts = [
        f"the model says {prefix} prefix tokens" if prefixes else "the model says no number of prefix tokens"
    ]
    if seen:
        parts.append(f"it flattened maps of {', '.join(map(_by, dict.fromkeys(seen)))}")
    if stated:
        parts.append(f"it says grids of {', '.join(map(_by, dict.fromkeys(stated)))}")
    return "; ".join(parts)


def _by(size: Size) -> str:
    return f"{size[0]} × {size[1]}"


def _listed(grid: TokenGrid) -> str:
    return f"({grid.prefix}, {grid.height}, {grid.width})"
