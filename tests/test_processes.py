"""Worker processes: answers come in order, and one photo spoils no other."""

import itertools
import os
from contextlib import closing
from pathlib import Path

import pytest

from hemline.catalog import processes
from hemline.catalog.processes import Crew
from hemline.errors import HemlineError, WeightsError
from tests.crews import Read, chunks, die, fail, refuse


@pytest.fixture(autouse=True)
def found(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent))  # where new processes find `tests`


def answered(crew, given):
    """(position, answer) of every photo, in the order in which they came."""
    return [(position, said) for answer in crew.run(given) for position, said, _ in answer]


def test_answers_come_in_the_order_of_the_chunks_from_several_processes():
    given = chunks(3, 1, 5, 2, 2, 1, special={0: "slow.jpg", 9: "slow.jpg"})
    answers = list(Crew(Read(), 2).run(given))
    assert [[position for position, _, _ in answer] for answer in answers] == [
        [0, 1, 2], [3], [4, 5, 6, 7, 8], [9, 10], [11, 12], [13]
    ]  # fmt: skip
    pids = {pid for answer in answers for _, _, pid in answer}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_no_more_processes_than_chunks_and_none_without(monkeypatch):
    started = []
    begin = processes._Worker.__init__
    monkeypatch.setattr(processes._Worker, "__init__", lambda self, *given: (started.append(1), begin(self, *given))[0])
    assert answered(Crew(Read(), 8), chunks()) == []
    assert not started
    assert answered(Crew(Read(), 8), chunks(2)) == [(0, "0.jpg"), (1, "1.jpg")]
    assert len(started) == 1


def test_what_is_read_ahead_is_bounded():
    read = itertools.count()
    given = (chunk for chunk in chunks(*[1] * 200) if next(read) >= 0)
    with closing(Crew(Read(), 1).run(given)) as answers:
        for _ in range(50):
            next(answers)
        ahead = next(read) - 50
    assert 1 <= ahead <= processes.WINDOW + 1


def test_a_photo_that_ends_its_process_has_a_sentence_and_the_others_their_answers():
    given = chunks(2, 4, 2, special={3: "abort.jpg"})
    answers = answered(Crew(Read(), 1), given)
    said = answers[3][1]
    assert said == "abort.jpg: the process that read it was ended by SIGABRT"
    assert answers == [(i, said if i == 3 else f"{i}.jpg") for i in range(8)]


def test_a_process_that_is_killed_once_costs_nobody_an_answer(tmp_path):
    given = chunks(2, 1, special={0: "killed once.jpg"})
    assert answered(Crew(Read(tmp_path), 1), given) == [(0, "killed once.jpg"), (1, "1.jpg"), (2, "2.jpg")]
    assert (tmp_path / "once").exists()


def test_killed_for_want_of_memory_is_said():
    ((_, said),) = answered(Crew(Read(), 1), chunks(1, special={0: "killed.jpg"}))
    assert said == "killed.jpg: the process that read it was ended by SIGKILL, most likely for want of memory"


def test_a_photo_that_hangs_is_given_up():
    answers = answered(Crew(Read(), 1, patience=0.8), chunks(2, 1, special={0: "hang.jpg"}))
    assert answers[0] == (0, "hang.jpg: no answer within 0.8 seconds, so it was given up")
    assert answers[1:] == [(1, "1.jpg"), (2, "2.jpg")]


def test_an_unforeseen_error_is_its_photos_alone():
    answers = answered(Crew(Read(), 1), chunks(3, special={1: "raise.jpg"}))
    assert answers == [
        (0, "0.jpg"), (1, "raise.jpg: reading it failed (ValueError: a strange photo)"), (2, "2.jpg")
    ]  # fmt: skip


def test_what_keeps_processes_from_beginning_is_raised():
    with pytest.raises(WeightsError, match=r"^w\.onnx: damaged$"):
        answered(Crew(refuse, 2), chunks(1, 1))
    with pytest.raises(HemlineError, match=r"cannot begin \(RuntimeError: no such thing\)"):
        answered(Crew(fail, 1), chunks(1))
    with pytest.raises(HemlineError, match=r"end before they begin: .*exit code 3"):
        answered(Crew(die, 1), chunks(1))


def test_no_process_outlives_those_who_listen():
    running = Crew(Read(), 2)
    with closing(running.run(chunks(1, 1, 1, 1, special={2: "hang.jpg"}))) as answers:
        pids = {next(answers)[0][2], next(answers)[0][2]}
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_the_environment_is_that_of_the_processes_alone():
    crew = Crew(Environment(), 1, variables={"HEMLINE_THREADS": "1"})
    assert list(crew.run(chunks(1))) == ["1"]
    assert "HEMLINE_THREADS" not in os.environ


class Environment:
    def __call__(self):
        return lambda _: os.environ.get("HEMLINE_THREADS")
