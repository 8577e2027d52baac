"""Mutated raw files in every wrapper: nothing but coded errors escapes, and any case can be replayed."""

import pytest

from archive_proc.bench.fuzz import report, run_case, run_fuzz
from archive_proc.bench.mutations import FORMS, Mutator, bases
from archive_proc.bench.one_case import answer

SEED = 20170928


def expect_nothing_escapes(campaign):
    assert [(one.number, one.name, one.escaped) for one in campaign.escapes] == []
    assert campaign.largest.cost.peak_bytes < 200e6
    assert set(campaign.forms) == set(FORMS)
    # Files are read to their pixels and refused for many reasons, else this would test nothing.
    assert campaign.words["read"] > 0.05 * campaign.cases
    assert {"AP-ING-003", "AP-ING-004", "AP-ING-005", "AP-ING-006", "problems"} <= set(campaign.words)


def test_nothing_but_coded_errors_escapes_from_mutated_simulated_files():
    campaign = run_fuzz(2000, SEED, jobs=2)
    assert campaign.cases == 2000
    expect_nothing_escapes(campaign)
    assert [one.aim for one in report(campaign).figures] == [0, 1.0, 200.0]


def test_nothing_but_coded_errors_escapes_from_mutated_real_headers(shared):
    expect_nothing_escapes(run_fuzz(200, SEED, shared / "data" / "headers", jobs=2))


def test_a_case_is_made_from_its_seed_and_number_alone(tmp_path):
    first, second = Mutator(bases(None)), Mutator(bases(None))
    for number in (7, 3, 40):
        assert first.mutant(SEED, number) == second.mutant(SEED, number)
    assert first.mutant(SEED, 7) != first.mutant(SEED + 1, 7)
    one, again = (run_case(SEED, 7, None, tmp_path) for _ in range(2))
    assert (one.name, one.word) == (again.name, again.word)


@pytest.mark.parametrize("fault", [ValueError("x"), MemoryError(), RecursionError(), UserWarning("w")])
def test_what_is_no_coded_error_is_an_escape(tmp_path, monkeypatch, fault):
    def broken(path):
        raise fault

    monkeypatch.setattr("archive_proc.bench.one_case.scan_header", broken)
    word, trace = answer(tmp_path / "a.fits")
    assert word == f"ESCAPE {type(fault).__name__}"
    assert "broken" in trace
