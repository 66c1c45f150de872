"""Protects recorded episodes on their way into a dataset: whole, once, as the lerobot package reads them, and never lost to a kill."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from recordings import CONFIG, LABELS, SIZE, contract, messages, picture_at, write_bag, write_journal

from wm_core import configuration
from wm_core.data import dataset_edit, dataset_growth, journal, metadata, relabelling
from wm_core.data.bag import Bag
from wm_core.data.dataset_config import DatasetConfig
from wm_core.data.episode import Episode
from wm_core.data.errors import DatasetError
from wm_core.data.export import export, from_bag, try_again
from wm_core.data.journal import FAILED, Lock
from wm_core.data.lerobot_writer import Layout
from wm_core.data.reader import DatasetReader
from wm_core.data.recording import recorded
from wm_core.data.recording_config import Contract
from wm_core.data.recording_layout import ACTION, layout_of
from wm_core.data.to_bag import to_bag
from wm_core.training.train_config import TrainConfig

FRONT = "observation.images.front"
ROOT = Path(__file__).resolve().parents[2]
HEARD = messages(1.5, jitter=0.003)


def quiet(line: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One episode by way of the recorder's journal, one left unfinished by a kill, and one by way of a bag, all of the same messages."""
    folder = tmp_path_factory.mktemp("made")
    root = journal.root_of(folder / "set")
    write_journal(root, 0, HEARD, contract())
    write_journal(root, 1, HEARD, contract(), finish=False)
    assert export(folder / "set", quiet) == 2
    from_bag(write_bag(folder / "a.mcap", HEARD), contract(), LABELS, folder / "set", quiet)
    return folder / "set"


@pytest.fixture(scope="module")
def reader(dataset: Path) -> DatasetReader:
    return DatasetReader(dataset, configuration.read(DatasetConfig, CONFIG / "datasets" / "embedded_arm.yaml"))


def test_it_is_read_as_a_collected_set_is(reader: DatasetReader) -> None:
    truth = recorded(Bag(reader.root.parent / "a.mcap"), contract(), "wave").episode
    for index in range(3):
        actions, known = reader.actions(index, np.arange(len(truth) + 1))
        assert np.allclose(actions, truth.columns[ACTION], atol=1e-6)
        assert known.all()


def test_a_bag_gives_the_rows_of_live_recording(reader: DatasetReader) -> None:
    live, salvaged, bag = (reader.columns(index) for index in range(3))
    assert live.keys() == bag.keys()
    for name in live.keys() - {"episode_index", "index"}:
        assert np.array_equal(live[name], bag[name]), name
        assert np.array_equal(live[name], salvaged[name]), name
    assert np.array_equal(reader.frames(0, np.arange(5), "front"), reader.frames(2, np.arange(5), "front"))


def test_the_unmodified_package_reads_every_frame(dataset: Path) -> None:
    from lerobot.datasets import LeRobotDataset

    read = LeRobotDataset("local/set", root=dataset, video_backend="pyav")
    assert read.num_episodes == 3
    truth = recorded(Bag(dataset.parent / "a.mcap"), contract(), "wave").episode
    rows = len(truth)
    assert len(read) == 3 * rows
    for row in range(0, rows, 4):
        item = read[2 * rows + row]
        wanted = picture_at(float(truth.stamps[row]))
        assert np.abs(255.0 * item[FRONT].permute(1, 2, 0).numpy() - wanted).mean() < 4.0
        assert np.allclose(item[ACTION].numpy(), truth.columns[ACTION][row], atol=1e-6)
        assert float(item["stamp"]) == pytest.approx(truth.stamps[row])
        assert item["task"] == "wave"


def test_what_was_said_of_each_episode_is_kept(dataset: Path) -> None:
    said = dataset_growth.labels(dataset)
    assert [one["task"] for one in said] == ["wave"] * 3
    assert "salvaged" in " ".join(said[1]["faults"])
    assert said[2]["bag"] == "a.mcap"
    assert not list(journal.root_of(dataset).glob("0*")), "what is in the dataset needs no journal"


def test_how_pictures_are_brought_to_size_in_training_is_told_with_each_episode(dataset: Path) -> None:
    trained = asdict(configuration.read(TrainConfig, CONFIG / "train_embedded.yaml").data.preprocessing)
    assert [one["preprocessing"] for one in dataset_growth.labels(dataset)] == [trained] * 3
    assert Contract.of(contract().plain(), "the test") == contract()


def test_a_recorder_that_begins_an_episode_of_a_dataset_loads_nothing_large(dataset: Path) -> None:
    """Each would keep START waiting for a second, and the memory of a recorder that appends above its bar."""
    told = f"""
import sys
from pathlib import Path
from wm_core.data import dataset_growth, recorder, recording_layout, relabelling
from wm_core.data.errors import DatasetError
from wm_core.data.lerobot_writer import Layout
dataset = Path({str(dataset)!r})
assert relabelling.next_number(dataset) == 3
try:
    dataset_growth.check_layout(dataset, Layout(1, "another", {{}}, {{}}))
except DatasetError as error:
    assert "laid out otherwise" in str(error)
    print(sorted({{"cv2", "pyarrow", "pandas", "torch", "lerobot", "av"}} & set(sys.modules)))
"""
    assert subprocess.check_output([sys.executable, "-c", told], cwd=ROOT, text=True).strip() == "[]"


def test_a_label_is_set_by_the_exporter_and_a_second_export_adds_nothing(dataset: Path) -> None:
    relabelling.ask(journal.root_of(dataset), {"index": 1}, {"success": "succeeded"})
    assert export(dataset, quiet) == 0
    assert [one["success"] for one in dataset_growth.labels(dataset)] == ["unknown", "succeeded", "unknown"]
    with pytest.raises(DatasetError, match=r"no such episode; got: 9; allowed: 0 \.\. 2"):
        dataset_growth.relabel(dataset, 9, {})


def test_an_episode_laid_out_otherwise_is_refused_and_kept_aside(dataset: Path) -> None:
    root = journal.root_of(dataset)
    write_journal(root, 7, messages(1.0, size=(24, 32)), contract())
    lines: list[str] = []
    assert export(dataset, lines.append) == 0
    assert "laid out otherwise" in lines[0]
    assert "observation.images.front (24, 32, 3)" in lines[0]
    (kept,) = journal.journals(root)
    assert kept.state == FAILED
    assert kept.capture.is_file()
    assert len(dataset_growth.labels(dataset)) == 3


def test_a_bag_of_which_only_a_part_is_whole_gives_that_part_and_says_so(dataset: Path, tmp_path: Path) -> None:
    data = write_bag(tmp_path / "whole.mcap", messages(20.0)).read_bytes()
    (tmp_path / "cut.mcap").write_bytes(data[: int(0.6 * len(data))])
    lines: list[str] = []
    index = from_bag(tmp_path / "cut.mcap", contract(), LABELS, tmp_path / "set", lines.append)
    assert index == 0
    assert "breaks off" in " ".join(lines)
    assert "breaks off" in " ".join(dataset_growth.labels(tmp_path / "set")[0]["faults"])


def test_nothing_stays_of_a_bag_that_holds_no_episode(tmp_path: Path) -> None:
    (tmp_path / "none.mcap").write_bytes(b"")
    with pytest.raises(DatasetError, match="is empty"):
        from_bag(tmp_path / "none.mcap", contract(), LABELS, tmp_path / "set", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["none.mcap"]


def test_an_episode_written_as_a_bag_comes_back_as_it_was(dataset: Path, reader: DatasetReader, tmp_path: Path) -> None:
    assert to_bag(dataset, 0, contract(), tmp_path / "back.mcap") > 40
    back = recorded(Bag(tmp_path / "back.mcap"), contract(), "wave").episode
    known = reader.columns(0)
    assert len(back) == len(known["observation.state"])
    for name, column in back.columns.items():
        if name in known:
            assert np.allclose(column[:-1], known[name][:-1], atol=2e-5), name


def test_merging_and_deleting_carry_pictures_and_words_along(dataset: Path, tmp_path: Path) -> None:
    assert dataset_edit.merge([dataset, dataset], tmp_path / "twice") == 6
    assert dataset_edit.delete(tmp_path / "twice", [0, 4], tmp_path / "less") == 4
    assert [said["success"] for said in dataset_growth.labels(tmp_path / "less")] == ["succeeded", "unknown", "unknown", "unknown"]
    description = configuration.read(DatasetConfig, CONFIG / "datasets" / "embedded_arm.yaml")
    left, original = DatasetReader(tmp_path / "less", description), DatasetReader(dataset, description)
    assert np.array_equal(left.actions(0, np.arange(5))[0], original.actions(1, np.arange(5))[0])
    error = left.frames(3, np.arange(5), "front").astype(float) - original.frames(2, np.arange(5), "front")
    assert np.abs(error).mean() < 6.0
    with pytest.raises(DatasetError, match=r"cannot be deleted; got: 3; allowed: some of 0 \.\. 2"):
        dataset_edit.delete(dataset, [3], tmp_path / "none")


def test_two_exporters_do_not_write_one_dataset(dataset: Path) -> None:
    lock = Lock(journal.root_of(dataset), "exporter")
    with pytest.raises(DatasetError, match=r"another exporter works on set; got: process \d+"):
        export(dataset, quiet)
    lock.release()


def test_a_kill_between_the_renames_is_mended(dataset: Path, tmp_path: Path) -> None:
    dataset_edit.merge([dataset, dataset], tmp_path / "set")
    before = dataset_growth.labels(tmp_path / "set")
    (tmp_path / "set").rename(tmp_path / ".set.before")
    (tmp_path / ".set.growing").mkdir()
    dataset_growth.mended(tmp_path / "set")
    assert dataset_growth.labels(tmp_path / "set") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_readers_of_lerobot_find_what_was_said_beside_each_episode(dataset: Path) -> None:
    from lerobot.datasets import LeRobotDataset

    episodes = LeRobotDataset("local/set", root=dataset, video_backend="pyav").meta.episodes
    said = dataset_growth.labels(dataset)
    for word in ("success", "robot", "workspace"):
        assert list(episodes[word]) == [one[word] for one in said]


def test_words_about_a_dataset_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"no LeRobot dataset at {tmp_path / 'none'}"):
        dataset_growth.relabel(tmp_path / "none", 0, {"task": "wave"})


def test_processes_that_change_one_dataset_take_turns(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "set")
    code = "import sys; from pathlib import Path; from wm_core.data.dataset_growth import relabel; "
    code += "[relabel(Path(sys.argv[1]), int(sys.argv[2]), {'task': f'{sys.argv[2]} {n}'}) for n in range(5)]"
    command = [sys.executable, "-c", code, str(tmp_path / "set")]
    running = [subprocess.Popen([*command, str(index)], cwd=ROOT) for index in range(3)]
    while any(process.poll() is None for process in running):
        assert len(metadata.load(tmp_path / "set")) == 3, "it can be read at any moment"
    assert [process.returncode for process in running] == [0, 0, 0]
    assert [one["task"] for one in dataset_growth.labels(tmp_path / "set")] == ["0 4", "1 4", "2 4"]


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        ROOT / "benchmarks" / "recorder_kills.py",
        tmp_path_factory.mktemp("kills"),
        "--kills",
        "8",
        "--journals",
        "8",
    ]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=200)


def test_no_episode_is_lost_or_doubled_when_exporters_are_killed(kills: subprocess.CompletedProcess[str]) -> None:
    assert kills.returncode == 0, kills.stdout + kills.stderr
    assert "8 of 8 episodes are there, 8 different" in kills.stdout
    assert not kills.stdout.startswith("0 of"), "some kills fell into the work"


def test_whatever_is_wrong_with_one_episode_the_next_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, lines, tasks = journal.root_of(tmp_path / "set"), list[str](), iter(["first", "second", "third", "fourth"])
    for number in range(4):
        made = write_journal(root, number, messages(1.0), contract())
        replace(made, labels=replace(made.labels, task=next(tasks))).save()
    (root / "000000" / journal.STATE).write_text("{", encoding="utf-8")
    write = dataset_growth.append

    def append(twin: object, episode: Episode, layout: Layout) -> None:
        if episode.task == "second":
            raise ValueError("the package does not like this one")
        write(twin, episode, layout)

    monkeypatch.setattr(dataset_growth, "append", append)
    assert export(tmp_path / "set", lines.append) == 2
    assert [said["task"] for said in dataset_growth.labels(tmp_path / "set")] == ["third", "fourth"]
    assert sum("000000 cannot be read, and is left alone" in line for line in lines) == 1
    assert (root / "000000" / journal.CAPTURE).is_file()
    (kept,) = journal.journals(root)
    assert (kept.number, kept.state, kept.faults) == (1, FAILED, ("ValueError: the package does not like this one",))
    monkeypatch.undo()
    try_again(tmp_path / "set")
    assert export(tmp_path / "set", quiet) == 1, "with its cause mended it goes through"
    assert dataset_growth.labels(tmp_path / "set")[2]["faults"] == []


def test_an_installation_that_lacks_something_is_no_fault_of_an_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = write_journal(journal.root_of(tmp_path / "set"), 0, messages(1.0), contract())

    def created(*given: object) -> NoReturn:
        raise ModuleNotFoundError("No module named 'lerobot'")

    monkeypatch.setattr(dataset_growth, "created", created)
    with pytest.raises(ModuleNotFoundError):
        export(tmp_path / "set", quiet)
    assert journal.read(made.folder).state == journal.FINISHED


OURS = layout_of(contract(), {"front": SIZE})
TURNED = OURS.columns["observation.state"][::-1]


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (replace(OURS, fps=20), "got: rows per second 20.0; allowed: rows per second 10.0"),
        (replace(OURS, robot="other"), "got: robot other; allowed: robot wm_arm"),
        (replace(OURS, columns={**OURS.columns, "observation.state": TURNED}), f"got: names of observation.state {TURNED}"),
        (replace(OURS, columns={**OURS.columns, "aim": ("x",)}), "got: aim there; allowed: aim missing"),
        (replace(OURS, cameras={"observation.images.front": (24, 32)}), "got: shape of observation.images.front (24, 32, 3)"),
    ],
)
def test_rows_that_are_laid_out_otherwise_are_refused_with_the_first_difference(dataset: Path, layout: Layout, said: str) -> None:
    dataset_growth.check_layout(dataset, OURS)
    with pytest.raises(DatasetError) as refused:
        dataset_growth.check_layout(dataset, layout)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "part", "value"), [("action", "dtype", "float64"), ("next.reward", None, {"dtype": "float32", "shape": [1]})]
)
def test_a_dataset_of_somebody_else_is_compared_column_by_column(
    dataset: Path, tmp_path: Path, name: str, part: str | None, value: object
) -> None:
    (tmp_path / "set").mkdir()
    shutil.copytree(dataset / "meta", tmp_path / "set" / "meta")
    path = tmp_path / "set" / "meta" / "info.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    if part is None:
        info["features"][name] = value
    else:
        info["features"][name][part] = value
    path.write_text(json.dumps(info), encoding="utf-8")
    with pytest.raises(DatasetError, match=rf"laid out otherwise; got: ({part} of )?{name} (float32|missing); allowed: .*(float64|there)"):
        dataset_growth.check_layout(tmp_path / "set", OURS)


def test_the_states_of_many_journals_are_followed(tmp_path: Path) -> None:
    root = journal.root_of(tmp_path / "set")
    states = journal.States(root)
    assert states.folders() == {}
    made = [write_journal(root, number, [], contract(), finish=number > 0) for number in range(3)]
    assert states.folders() == {journal.CAPTURING: [made[0].folder], journal.FINISHED: [made[1].folder, made[2].folder]}
    replace(made[0], state=journal.FINISHED).save()
    shutil.rmtree(made[1].folder)
    (made[2].folder / journal.STATE).write_text("{", encoding="utf-8")
    found = states.folders()
    assert found[journal.FINISHED] == [made[0].folder]
    assert journal.CAPTURING not in found
