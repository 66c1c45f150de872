"""Protects what is said of an episode that was kept: it reaches that episode, whenever it is said, whatever became of those before it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import HEARD_BRIEFLY, SIZE, contract, write_journal

from wm_core.cli.main import main
from wm_core.data import dataset_edit, dataset_growth, export, journal, metadata, relabelling
from wm_core.data.errors import EpisodeError, StorageError
from wm_core.data.recorder import Code, Recorder, Wish
from wm_core.data.recording_layout import layout_of

STACKED = Wish(task="stack", success="succeeded")


def quiet(line: str) -> None:
    """Nobody listens."""


def keep(recorder: Recorder, task: str = "") -> int:
    """An episode of one second; its number."""
    begun = recorder.start(Wish(task=task), [], lambda: layout_of(contract(), {"front": SIZE}))
    assert begun.code == Code.SUCCESS, begun.text
    for one in HEARD_BRIEFLY:
        recorder.write(one.topic, one.kind, one.received, one.stamp, one.data, one.kind.endswith("Image"))
    return recorder.stop(Wish()).episode


@pytest.fixture(params=[False, True], ids=["journals go", "journals stay"])
def recorder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(tmp_path / "set", contract(keep_journals=request.param))
    yield made
    made.close()


def around(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, before: Callable[[], object], after: Callable[[], object]) -> None:
    """Let something happen just before and just after a step of the exporter."""
    step = getattr(module, name)

    def wrapped(*given: object) -> object:
        before()
        result = step(*given)
        after()
        return result

    monkeypatch.setattr(module, name, wrapped)


@pytest.mark.parametrize(("step", "late"), [("recorded", False), ("recorded", True), ("_forget", False), ("_forget", True)])
def test_a_label_is_not_lost_while_its_episode_is_exported(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, step: str, late: bool
) -> None:
    answers = []
    label = lambda: answers.append(recorder.label(keep_number, STACKED))  # noqa: E731
    keep_number = keep(recorder)
    around(monkeypatch, export, step, quiet_call if late else label, label if late else quiet_call)
    assert export.export(recorder.dataset, quiet) == 1
    assert [answer.code for answer in answers] == [Code.SUCCESS]
    (said,) = dataset_growth.labels(recorder.dataset)
    assert (said["success"], said["task"]) == ("succeeded", "stack")
    assert metadata.load(recorder.dataset).tasks == ("stack",)
    assert not relabelling.waiting(recorder.root)


def quiet_call() -> None:
    """Nothing happens."""


class KilledError(BaseException):
    """Ends the exporter where no kill can be aimed at."""


def die(*given: object) -> NoReturn:
    raise KilledError


@pytest.mark.parametrize(("module", "step"), [(export, "_forget"), (dataset_growth, "relabel"), (relabelling.Path, "unlink")])
def test_a_label_outlives_an_exporter_that_is_killed(recorder: Recorder, monkeypatch: pytest.MonkeyPatch, module: Any, step: str) -> None:
    keep(recorder)
    with monkeypatch.context() as deadly:
        around(deadly, export, "recorded", lambda: recorder.label(0, STACKED), lambda: deadly.setattr(module, step, die))
        with pytest.raises(KilledError):
            export.export(recorder.dataset, quiet)
    assert recorder.label(0, Wish(workspace="bench")).code == Code.SUCCESS
    export.export(recorder.dataset, quiet)
    (said,) = dataset_growth.labels(recorder.dataset)
    assert (said["success"], said["task"], said["workspace"]) == ("succeeded", "stack", "bench")


def test_what_is_kept_and_said_in_the_recorders_last_moment_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, lives = Recorder(tmp_path / "set", contract()), export._recorder_lives

    def ended(root: Path) -> bool:
        if not (tmp_path / "set").exists():
            keep(recorder)
            recorder.label(0, STACKED)
            recorder.close()
        return lives(root)

    monkeypatch.setattr(export, "_recorder_lives", ended)
    assert export.export(tmp_path / "set", quiet, linger=60.0) == 1
    assert dataset_growth.labels(tmp_path / "set")[0]["success"] == "succeeded"


def test_a_label_hits_the_episode_whose_number_was_answered(recorder: Recorder) -> None:
    assert [keep(recorder, task) for task in ("zero", "one", "two")] == [0, 1, 2]
    (recorder.root / "000001" / journal.CAPTURE).write_bytes(b"")
    assert export.export(recorder.dataset, quiet) == 2
    assert recorder.label(2, Wish(success="failure")).episode == 2
    assert recorder.label(0, Wish(success="succeeded")).episode == 0
    lost = recorder.label(1, Wish(success="failure"))
    assert lost.code == Code.NO_EPISODE
    assert "could not be exported" in lost.text
    assert "allowed: 0 .. 2 without 1" in recorder.label(7, Wish()).text
    assert recorder.label(-1, Wish(workspace="bench")).episode == 2
    export.export(recorder.dataset, quiet)
    told = [(said["task"], said["success"], said["workspace"]) for said in dataset_growth.labels(recorder.dataset)]
    assert told == [("zero", "succeeded", "table"), ("two", "failure", "bench")]
    assert keep(recorder) == 3


@contextmanager
def pretended() -> Iterator[list[dict[str, Any]]]:
    """A dataset that is a list of what was said of each episode, and bags that hold an episode unless their task is `broken`."""
    records: list[dict[str, Any]] = []

    def recorded(bag: object, agreed: object, task: str) -> Any:
        if task == "broken":
            raise EpisodeError("nothing usable came")
        return SimpleNamespace(episode=[], layout=None, faults=())

    def grow(root: Path, episode: object, layout: object, video: object, said: dict[str, Any]) -> int:
        records.append(said)
        return len(records) - 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "recorded", recorded)
        patch.setattr(export, "Bag", quiet)
        patch.setattr(dataset_growth, "grow", grow)
        patch.setattr(dataset_growth, "labels", lambda root: list(records))
        patch.setattr(dataset_growth, "relabel", lambda root, index, said: records[index].update(said))
        yield records


step = st.one_of(
    st.sampled_from(["keep", "broken", "export", "bag", "again"]),
    st.tuples(st.integers(-1, 4), st.sampled_from(["failure", "succeeded"])),
)


@settings(max_examples=40)
@given(steps=st.lists(step, max_size=12))
def test_whatever_happens_a_label_that_was_answered_is_where_it_belongs(steps: list[Any]) -> None:
    with TemporaryDirectory() as folder, pretended() as records:
        recorder, agreed, wanted = Recorder(Path(folder) / "set", contract()), contract(), dict[str, str]()
        names, whole = dict[int, str](), set[int]()
        for what in steps:
            if what in ("keep", "broken"):
                number = relabelling.next_number(recorder.dataset)
                assert number not in names, "no number is answered twice"
                made = write_journal(recorder.root, number, [], agreed)
                replace(made, labels=replace(made.labels, task=what)).save()
                names[number], recorder.last = made.name, number
                whole |= {number} if what == "keep" else set()
            elif what == "export":
                export.export(recorder.dataset, quiet)
            elif what == "bag":
                records.append({"success": "unknown"})
            elif what == "again":
                recorder.close()
                recorder = Recorder(recorder.dataset, agreed)
            else:
                answer = recorder.label(what[0], Wish(success=what[1]))
                if answer.code == Code.SUCCESS and answer.episode in names:
                    wanted[names[answer.episode]] = what[1]
                assert answer.code == Code.SUCCESS or what[0] not in whole, answer.text
        export.export(recorder.dataset, quiet)
        for number in whole:
            assert recorder.label(number, Wish(workspace=names[number])).code == Code.SUCCESS
        relabelling.settle(recorder.dataset, quiet)
        assert all(said["workspace"] == said["journal"] for said in records if "journal" in said)
        kept = {one.name: one.labels.success for one in journal.journals(recorder.root)}
        kept |= {said["journal"]: said["success"] for said in records if "journal" in said}
        assert {name: kept[name] for name in wanted} == wanted
        assert all(success == "unknown" for name, success in kept.items() if name not in wanted)
        recorder.close()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes of a recorder, in a folder that is called as one of a dataset's own."""
    dataset = tmp_path_factory.mktemp("made") / "data" / "set"
    for number in range(3):
        write_journal(journal.root_of(dataset), number, HEARD_BRIEFLY, contract())
    assert export.export(dataset, quiet) == 3
    return dataset


@pytest.fixture
def dataset(original: Path, tmp_path: Path) -> Path:
    """Which a test may change."""
    return Path(shutil.copytree(original, tmp_path / "data" / "set"))


def test_a_task_is_set_wherever_the_package_reads_it(dataset: Path) -> None:
    from lerobot.datasets import LeRobotDataset

    (dataset.parent / ".set.growing").mkdir()  # of a process that was killed
    dataset_growth.relabel(dataset, 1, {"task": "stack"})
    read = LeRobotDataset("local/set", root=dataset, video_backend="pyav")
    rows = len(read) // 3
    assert [read[row]["task"] for row in range(0, len(read), rows)] == ["wave", "stack", "wave"]
    assert read[2 * rows - 1]["task"] == "stack"
    assert list(read.meta.episodes["tasks"]) == [["wave"], ["stack"], ["wave"]]
    assert read.meta.total_tasks == 2
    assert [said["task"] for said in dataset_growth.labels(dataset)] == ["wave", "stack", "wave"]


@pytest.mark.parametrize("said", [{"success": "failure"}, {"task": "stack"}])
def test_whoever_reads_the_files_of_before_reads_them_as_they_were(dataset: Path, said: dict[str, str]) -> None:
    before = {path: path.read_bytes() for path in sorted(dataset.rglob("*.*")) if path.is_file()}
    links = {path: dataset.parent / f"{number}.link" for number, path in enumerate(before)}
    for path, link in links.items():
        link.hardlink_to(path)
    dataset_growth.relabel(dataset, 1, said)
    assert all(links[path].read_bytes() == data for path, data in before.items())


def test_an_episode_is_added_to_tasks_that_were_set(dataset: Path) -> None:
    dataset_growth.relabel(dataset, 0, {"task": "stack"})
    root = journal.root_of(dataset)
    made = write_journal(root, 3, HEARD_BRIEFLY, contract())
    replace(made, labels=replace(made.labels, task="stack")).save()
    assert export.export(dataset, quiet) == 1
    assert metadata.load(dataset).tasks == ("stack", "wave", "wave", "stack")
    assert json.loads((dataset / "meta" / "info.json").read_text(encoding="utf-8"))["total_tasks"] == 2


def test_the_command_line_sets_a_task_and_tries_again(dataset: Path) -> None:
    made = write_journal(journal.root_of(dataset), 3, HEARD_BRIEFLY, contract())
    replace(made, state=journal.FAILED, faults=("what was mended since",)).save()
    assert main(["dataset", "label", str(dataset), "2", "--task", "stack"]) == 0
    assert main(["dataset", "export", str(dataset), "--again"]) == 0
    assert metadata.load(dataset).tasks == ("wave", "wave", "stack", "wave")


def test_a_label_that_the_disk_refuses_waits_and_one_that_means_nothing_is_set_aside(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, lines = journal.root_of(dataset), list[str]()
    relabelling.ask(root, {"journal": "nobody's"}, {"success": "failure"})
    relabelling.ask(root, {"index": 2}, {"success": "failure"})

    def full(*given: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(dataset_growth, "relabel", full)
        with pytest.raises(StorageError, match="No space left"):
            relabelling.settle(dataset, lines.append)
    assert "neither in the dataset nor among the journals; got: nobody's" in lines[0]
    assert [path.name for path in relabelling.waiting(root)] == ["000001.json"]
    relabelling.settle(dataset, lines.append)
    assert [said["success"] for said in dataset_growth.labels(dataset)] == ["unknown", "unknown", "failure"]
    assert [path.name for path in (root / relabelling.LABELS).iterdir()] == ["000000.failed"]


def test_an_episode_that_no_recorder_numbered_is_meant_by_its_place(dataset: Path) -> None:
    assert dataset_edit.delete(dataset, [0], dataset.with_name("less")) == 2
    less = Recorder(dataset.with_name("less"), contract())
    assert less.label(0, Wish(success="failure")).code == Code.SUCCESS
    assert less.label(2, Wish(success="failure")).code == Code.NO_EPISODE
    less.close()
    relabelling.settle(less.dataset, quiet)
    assert [said["success"] for said in dataset_growth.labels(less.dataset)] == ["failure", "unknown"]
