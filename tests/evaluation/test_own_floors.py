from cxr_jax.evaluation import own_floors as module
from cxr_jax.evaluation.own_floors import own_floors
from cxr_jax.evaluation.text_metrics import ReportScorer


class Recorder(ReportScorer):
    """Keeps what it was asked to score."""

    def __init__(self, references):
        super().__init__(references, "raw", references)
        self.seen = []

    def scores(self, predictions):
        self.seen.append(list(predictions))
        return super().scores(predictions)


def test_no_image_meets_a_report_of_its_own_patient():
    patients = [f"p{i // 3}" for i in range(30)]
    studies = [f"s{i // 2}" for i in range(30)]
    studies = [f"{p}-{s}" for p, s in zip(patients, studies, strict=True)]
    reports = [f"Patient {p} has finding {s} ." for p, s in zip(patients, studies, strict=True)]
    scorer = Recorder(reports)
    floors = own_floors(scorer, studies, patients)
    assert set(floors) == {"own_constant_report", "own_random_report"}
    of = dict(zip(reports, patients, strict=True))
    assert len(scorer.seen) == 6  # five draws and the constant
    for line in scorer.seen:
        assert all(of[answer] != patient for answer, patient in zip(line, patients, strict=True))
    assert len(set(scorer.seen[-1])) == 2  # one report for each half
    assert floors["own_random_report"]["bleu_1"] > 0


def test_the_constant_is_chosen_on_the_half_that_it_comes_from(monkeypatch):
    asked = []

    def best(candidates, references):
        asked.append((sorted(candidates), sorted(references)))
        return candidates[0]

    monkeypatch.setattr(module, "best_constant", best)
    reports = [f"report {i} ." for i in range(8)]
    own_floors(ReportScorer(reports, "raw", reports), list("abcdefgh"), list("abcdefgh"))
    assert [candidates == references for candidates, references in asked] == [True, True]
    assert not set(asked[0][0]) & set(asked[1][0])
    assert sorted(asked[0][0] + asked[1][0]) == sorted(reports)


def test_the_seed_decides():
    reports = [f"report number {i % 7} and {i % 3} ." for i in range(40)]
    scorer, ids = ReportScorer(reports, "raw", reports), [str(i) for i in range(40)]
    assert own_floors(scorer, ids, ids) == own_floors(scorer, ids, ids)
    assert own_floors(scorer, ids, ids, seed=1) != own_floors(scorer, ids, ids)


def test_one_patient_gives_none():
    reports = ["One .", "Two ."]
    assert own_floors(ReportScorer(reports, "raw", reports), ["a", "b"], ["p", "p"]) == {}
