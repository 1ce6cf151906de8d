"""Remembers what Beam works out again and again while it builds a pipeline.

Building one of TFX's Beam pipelines parses the same handful of flags several hundred times, and
inspects the signatures of the same few functions several thousand times: measured, a third of the
time of StatisticsGen and a fifth of that of Transform and Evaluator on a hundred thousand rows.
Both are pure functions of what they are given, so their results can be kept. And to know how much
its cache of side inputs holds, it walks the globals of all modules, for each value anew; here the
value itself is enough, because it is in this process's memory in any case.

Beam offers no switch for it. This takes hold of the one version it was written for; with any
other it does nothing, and everything works as before, only slower.
"""

from __future__ import annotations

import argparse
import copy
import functools
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

import apache_beam
from apache_beam.options import pipeline_options
from apache_beam.runners.worker import statecache
from apache_beam.transforms import core, ptransform, userstate, util
from apache_beam.typehints import decorators

#: What the functions replaced here looked like when this was written.
BEAM_VERSION = "2.77.0"


def remember() -> bool:
    """Makes Beam remember, in this process, from now on; again is harmless.

    Returns:
        Whether it does: False with another version of Beam.
    """
    if apache_beam.__version__ != BEAM_VERSION:
        return False
    if not hasattr(decorators.get_signature, "__wrapped__"):
        signature = _remember_signatures(decorators.get_signature)
        for module in (decorators, core, ptransform, util):
            module.get_signature = signature
        userstate.get_dofn_specs = _remember_specs(userstate.get_dofn_specs)
        statecache.get_deep_size = _size
        options = pipeline_options.PipelineOptions
        options.__init__ = _remember_flags(options.__init__)
    return True


def _size(*values: Any) -> int:
    """Bytes of values and, where they are lists, of their elements."""
    inner = (item for value in values if isinstance(value, list | tuple) for item in value)
    return sum(map(sys.getsizeof, (*values, *inner)))


def _remember_signatures(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Signatures by function; those of bound methods, which lack `self`, apart."""
    free: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
    bound: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    @functools.wraps(original)
    def get_signature(func: Any) -> Any:
        if isinstance(func, types.MethodType) and isinstance(func.__func__, types.FunctionType):
            known, key = bound, func.__func__
        elif isinstance(func, types.FunctionType):
            known, key = free, func
        else:
            return original(func)
        found = known.get(key)
        if found is None:
            found = known[key] = original(func)
        return found

    return get_signature


def _remember_specs(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """State and timers by class, unless an instance has methods of its own."""
    known: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()

    @functools.wraps(original)
    def get_dofn_specs(dofn: Any) -> Any:
        own = getattr(dofn, "__dict__", {}).values()
        if any(isinstance(value, types.MethodType) for value in own):
            return original(dofn)
        found = known.get(type(dofn))
        if found is None:
            found = known[type(dofn)] = original(dofn)
        states, timers = found
        return set(states), set(timers)

    return get_dofn_specs


def _remember_flags(original: Callable[..., None]) -> Callable[..., None]:
    """Parsed flags by class and flags; whoever asks gets a copy."""
    known: dict[tuple[type, tuple[str, ...]], argparse.Namespace] = {}

    @functools.wraps(original)
    def initialize(self: Any, flags: Any = None, **kwargs: Any) -> None:
        if kwargs or flags is None or isinstance(flags, str):
            original(self, flags, **kwargs)
            return
        key = (type(self), tuple(flags))
        if key not in known:
            original(self, flags)
            known[key] = copy.deepcopy(self._visible_options)
            return
        self._flags = flags
        self._visible_options = copy.deepcopy(known[key])
        self._all_options = dict(vars(self._visible_options))

    return initialize
