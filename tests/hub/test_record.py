"""The row of the journal: plain data that survives encoding exactly."""

import msgspec
import pytest
from hypothesis import given

from hub.lifecycle import Condition, Pending, State
from hub.record import ModuleRecord
from tests.hub.test_resolution import RECORDS


@given(record=RECORDS)
def test_a_record_survives_the_journals_encoding(record: ModuleRecord) -> None:
    """Encoding and decoding give back an equal record, whatever its values."""
    assert msgspec.json.decode(msgspec.json.encode(record), type=ModuleRecord) == record


def test_an_unknown_field_is_refused() -> None:
    """A row of a newer modhub is an error instead of a record with a part silently dropped."""
    with pytest.raises(msgspec.ValidationError, match="shoe_size"):
        msgspec.json.decode(b'{"module_id": "m", "shoe_size": 43}', type=ModuleRecord)


@pytest.mark.parametrize("text", ['{"module_id": "m", "state": "asleep"}', '{"state": "crashed"}', '{"module_id": 1}'])
def test_a_row_that_says_nonsense_is_refused(text: str) -> None:
    """An unknown state, a missing id or a wrong type does not become a record."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=ModuleRecord)


def test_defaults_take_no_room() -> None:
    """What is at its default is not written: ten thousand sleeping modules are small rows."""
    assert msgspec.json.encode(ModuleRecord("m", state=State.HIBERNATED)) == b'{"module_id":"m","state":"hibernated"}'


def test_a_record_is_immutable() -> None:
    """A record that was journalled can't be changed behind the journal's back."""
    record = ModuleRecord("m")
    with pytest.raises(AttributeError):
        record.state = State.CRASHED  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue] # what is proven


@given(record=RECORDS)
def test_a_records_condition_is_what_the_lifecycle_judges(record: ModuleRecord) -> None:
    """State, dirtiness and pending intent are handed on unchanged, and tracked follows from them."""
    assert record.condition == Condition(record.state, dirty=record.dirty, pending=record.pending)
    assert record.tracked == (record.state is not State.UNPROVISIONED or record.dirty)


def test_a_fresh_record_is_an_untracked_module() -> None:
    """A module that nobody has heard of is unprovisioned, clean, and nothing to remember."""
    record = ModuleRecord("m")
    assert not record.tracked
    assert record.condition == Condition(State.UNPROVISIONED)
    assert record.pending not in set(Pending)
