"""What a failed test leaves open ends with it, instead of failing whichever test runs when it is collected."""

from __future__ import annotations

import gc
import traceback
import warnings
from collections.abc import Iterator
from typing import cast


def drop_what_it_held(error: BaseException) -> None:
    """Close what only the frames of a failure still hold: their connections, and with those their locks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it did not get as far as closing them; it has failed for it
        for each in _with_causes(error):
            traceback.clear_frames(each.__traceback__)
            for frame, _ in traceback.walk_tb(each.__traceback__):
                _ = frame.f_locals  # a failed assertion has had them copied; looking again makes the copy empty, too
        gc.collect()


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and all that led to it, each once."""
    left, seen = [error], set[int]()
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        left += [other for other in (each.__cause__, each.__context__) if other is not None]
        if isinstance(each, BaseExceptionGroup):
            left += cast("BaseExceptionGroup[BaseException]", each).exceptions
