"""Sequences of random edits, each sent home and brought back in another place: always equal, never an orphan."""

from __future__ import annotations

import shutil
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import DestinationExists
from backends.hydration import index as stat_index
from tests.backends.edits import Edit, apply, edits
from tests.backends.rig import Rig
from tests.backends.trees import snapshot, workspace

_steps = st.lists(
    st.tuples(st.lists(edits, min_size=1, max_size=6), st.booleans(), st.sampled_from(["over", "fresh", "dirty"])),
    min_size=1,
    max_size=6,
)


@given(steps=_steps, racy=st.booleans())
@settings(max_examples=60)
def test_sequences_of_edits(steps: list[tuple[list[Edit], bool, str]], racy: bool) -> None:
    """After every dehydration a copy, fresh or over the clean one before, equals the source; a dirty one is refused.

    Without racy times the stat cache is trusted wherever it may be, so whatever it misses would show.
    """
    with workspace() as path, mock.patch.object(stat_index, "RACY_NS", 10**15 if racy else 0):
        rig, source, copy = Rig(path), path / "work", path / "copy"
        source.mkdir()
        index = path / "copy-index"
        clean: dict[bytes, tuple[object, ...]] | None = None
        for acts, keep_previous, how in steps:
            for act in acts:
                apply(source, act)
            before = rig.module.read_head()
            head = rig.save(source, keep_previous=keep_previous).head
            wanted = snapshot(source)
            assert rig.orphans() == set()
            if keep_previous and before is not None and before.previous is not None:
                assert head.previous == before.previous
            over = how == "over" and copy.exists() and not racy
            if how == "dirty" and copy.exists():
                (copy / "dirty").write_bytes(b"never sent home")
                dirty = snapshot(copy)
                with pytest.raises(DestinationExists):
                    rig.module.hydrate(head, copy, scratch=rig.scratch, index=index, over_clean=True)
                assert snapshot(copy) == dirty
            if not over and copy.exists():
                shutil.rmtree(copy)
            done = rig.module.hydrate(head, copy, scratch=rig.scratch, index=index, over_clean=over)
            assert snapshot(copy) == wanted
            assert rig.scraps() == []
            if clean == wanted and over:
                assert done.bytes_received == 0
            clean = wanted
