"""Protects goals: from pictures, files, frames and the library, with nothing accepted that is not a goal of this encoder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from wm_core.errors import GoalError, VisionError
from wm_core.planning import goal_library
from wm_core.planning.goal import goal_of_file, goal_of_picture, mask_of_file, masked
from wm_core.planning.goal_distance import GoalDistance
from wm_core.planning.goal_library import GoalLibrary
from wm_core.vision.encoder import FrozenEncoder
from wm_core.vision.preprocessing import Preprocessing
from wm_core.vision.tokens import Tokens


class Cells(torch.nn.Module):
    """A token for every cell of eight pixels."""

    grid, dim = (4, 4), 5

    def __init__(self) -> None:
        super().__init__()
        self.project = torch.nn.Conv2d(3, 5, 8, stride=8)

    def forward(self, pixels: torch.Tensor) -> Tokens:
        patches = self.project(pixels).flatten(2).transpose(1, 2)
        return Tokens(patches, patches.mean(dim=1))


@pytest.fixture(scope="module")
def encoder() -> FrozenEncoder:
    torch.manual_seed(0)
    plain = Preprocessing(32, "exact", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return FrozenEncoder("tiny", Cells(), plain, torch.device("cpu"))


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)


def test_a_goal_is_what_the_encoder_sees(encoder: FrozenEncoder, picture: np.ndarray, tmp_path: Path) -> None:
    goal = goal_of_picture(encoder, picture, "here")
    frames = torch.from_numpy(picture).permute(2, 0, 1)[None]
    torch.testing.assert_close(goal.latents, encoder(frames).patches[0])
    assert (goal.grid, goal.encoder, goal.encoder_hash) == (encoder.grid, "tiny", encoder.weight_hash)
    cv2.imwrite(str(tmp_path / "there.png"), picture[..., ::-1])
    torch.testing.assert_close(goal_of_file(encoder, tmp_path / "there.png").latents, goal.latents)


def test_what_is_no_goal_is_refused(encoder: FrozenEncoder, picture: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(GoalError, match=r"not a picture.*\(0, 0, 3\)"):
        goal_of_picture(encoder, np.zeros((0, 0, 3), np.uint8), "x")
    with pytest.raises(GoalError, match="float64"):
        goal_of_picture(encoder, picture.astype(float), "x")
    with pytest.raises(GoalError, match="one flat colour"):
        goal_of_picture(encoder, np.full((32, 32, 3), 7, np.uint8), "x")
    with pytest.raises(VisionError, match="another size"):
        goal_of_picture(encoder, picture[:16], "x")
    with pytest.raises(GoalError, match="no goal picture"):
        goal_of_file(encoder, tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(GoalError, match="cannot be read"):
        goal_of_file(encoder, tmp_path / "text.png")


def test_the_library_gives_back_what_it_was_given(encoder: FrozenEncoder, picture: np.ndarray, tmp_path: Path) -> None:
    library = GoalLibrary(tmp_path / "goals")
    assert library.names() == []
    mask = np.zeros((32, 32), bool)
    mask[:8] = True
    goal = masked(goal_of_picture(encoder, picture, "cup-on_shelf"), mask, encoder.preprocessing)
    library.save(goal)
    library.save(goal_of_picture(encoder, picture[::-1].copy(), "default"))
    assert library.names() == ["cup-on_shelf", "default"]
    again = library.load("cup-on_shelf")
    torch.testing.assert_close(again.latents, goal.latents)
    torch.testing.assert_close(again.weights, goal.weights)
    np.testing.assert_array_equal(again.picture, picture)
    assert (again.grid, again.encoder_hash) == (goal.grid, goal.encoder_hash)


def test_saving_again_replaces(encoder: FrozenEncoder, picture: np.ndarray, tmp_path: Path) -> None:
    library = GoalLibrary(tmp_path)
    for one in (picture, picture[::-1].copy()):
        library.save(goal_of_picture(encoder, one, "default"))
        np.testing.assert_array_equal(library.load("default").picture, one)
    assert [path.name for path in tmp_path.iterdir()] == ["default"]


def test_a_disk_that_is_full_refuses_a_goal_and_keeps_the_older_one(
    encoder: FrozenEncoder, picture: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = GoalLibrary(tmp_path)
    library.save(goal_of_picture(encoder, picture, "default"))

    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(goal_library, "save_file", full)
    with pytest.raises(GoalError, match=r"cannot be kept.*No space left.*free space"):
        library.save(goal_of_picture(encoder, picture[::-1].copy(), "default"))
    assert [path.name for path in tmp_path.iterdir()] == ["default"]
    np.testing.assert_array_equal(library.load("default").picture, picture)


def test_a_goal_that_cannot_be_put_in_place_keeps_the_older_one(
    encoder: FrozenEncoder, picture: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, rename = GoalLibrary(tmp_path), os.rename
    library.save(goal_of_picture(encoder, picture, "default"))

    def refusing(source: Path, target: Path) -> None:
        if source.name == f".default.{os.getpid()}":
            raise PermissionError("not allowed")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refusing)
    with pytest.raises(GoalError, match=r"cannot be kept.*not allowed"):
        library.save(goal_of_picture(encoder, picture[::-1].copy(), "default"))
    np.testing.assert_array_equal(library.load("default").picture, picture)


def test_what_a_kill_left_is_no_goal(encoder: FrozenEncoder, picture: np.ndarray, tmp_path: Path) -> None:
    place = GoalLibrary(tmp_path).save(goal_of_picture(encoder, picture, "home"))
    place.rename(tmp_path / ".home.1234.old")
    assert GoalLibrary(tmp_path).names() == []


def test_what_ships_is_there_until_it_is_replaced(encoder: FrozenEncoder, picture: np.ndarray, tmp_path: Path) -> None:
    GoalLibrary(tmp_path / "shipped").save(goal_of_picture(encoder, picture, "default"))
    library = GoalLibrary(tmp_path / "own", tmp_path / "shipped")
    assert library.names() == ["default"]
    np.testing.assert_array_equal(library.load("default").picture, picture)
    place = library.save(goal_of_picture(encoder, picture[::-1].copy(), "default"))
    assert place == tmp_path / "own" / "default"
    np.testing.assert_array_equal(library.load("default").picture, picture[::-1])
    np.testing.assert_array_equal(GoalLibrary(tmp_path / "shipped").load("default").picture, picture)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "x" * 65])
def test_names_that_are_no_names(name: str, encoder: FrozenEncoder, picture: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(GoalError, match="cannot be the name"):
        GoalLibrary(tmp_path).save(goal_of_picture(encoder, picture, name))


def test_the_nearest_name_is_named(encoder: FrozenEncoder, picture: np.ndarray, tmp_path: Path) -> None:
    library = GoalLibrary(tmp_path)
    with pytest.raises(GoalError, match="the library is empty"):
        library.load("default")
    library.save(goal_of_picture(encoder, picture, "default"))
    with pytest.raises(GoalError, match="nearest: default"):
        library.load("defualt")
    with pytest.raises(GoalError, match="no goal of that name"):
        library.load("../default")


@pytest.mark.parametrize("file", ["picture.png", "tokens.safetensors", "goal.json"])
def test_a_damaged_goal_is_refused(file: str, encoder: FrozenEncoder, picture: np.ndarray, tmp_path: Path) -> None:
    library = GoalLibrary(tmp_path)
    library.save(goal_of_picture(encoder, picture, "default"))
    place = tmp_path / "default" / file
    place.write_bytes(place.read_bytes()[:10])
    with pytest.raises(GoalError, match="is damaged"):
        library.load("default")


def test_a_goal_of_another_encoder_is_refused(encoder: FrozenEncoder, picture: np.ndarray) -> None:
    goal = goal_of_picture(encoder, picture, "default")
    goal.require_encoder(encoder.name, encoder.weight_hash)
    with pytest.raises(GoalError, match="seen by another encoder"):
        goal.require_encoder(encoder.name, "0" * 64)


def test_a_mask_weighs_tokens_by_their_share(encoder: FrozenEncoder, picture: np.ndarray) -> None:
    mask = np.zeros((32, 32), bool)
    mask[:16, :16] = True
    weights = masked(goal_of_picture(encoder, picture, "x"), mask, encoder.preprocessing).weights
    assert weights is not None
    rows, columns = encoder.grid
    plane = weights.reshape(rows, columns)
    assert float(weights.mean()) == pytest.approx(1.0)
    assert (plane[: rows // 2, : columns // 2] > 0).all()
    assert not plane[rows // 2 :].any()


def test_a_mask_may_have_any_size_but_not_another_shape(encoder: FrozenEncoder, picture: np.ndarray) -> None:
    goal, mask = goal_of_picture(encoder, picture, "x"), np.zeros((32, 32), bool)
    mask[8:16, :24] = True
    weights = masked(goal, mask, encoder.preprocessing).weights
    assert weights is not None
    for other in (mask.repeat(3, 0).repeat(3, 1), mask[::4, ::4]):
        torch.testing.assert_close(masked(goal, other, encoder.preprocessing).weights, weights)
    with pytest.raises(GoalError, match=r"another shape.*16x32.*32x32"):
        masked(goal, mask[:16], encoder.preprocessing)
    with pytest.raises(GoalError, match=r"another shape.*0x32"):
        masked(goal, mask[:0], encoder.preprocessing)


def test_a_mask_goes_the_way_of_the_picture_and_must_leave_something(encoder: FrozenEncoder) -> None:
    wide = np.random.default_rng(0).integers(0, 255, (32, 64, 3), dtype=np.uint8)
    crop = replace(encoder.preprocessing, fit="crop")
    goal = goal_of_picture(FrozenEncoder("wide", Cells(), crop, torch.device("cpu")), wide, "x")
    mask = np.zeros((32, 64), bool)
    mask[:, :32] = True
    weights = masked(goal, mask, crop).weights
    assert weights is not None
    torch.testing.assert_close(weights.reshape(4, 4), torch.tensor([[2.0, 2.0, 0.0, 0.0]]).expand(4, 4))
    mask[:, 16:] = False
    for dark in (mask, np.zeros((32, 64), bool)):
        with pytest.raises(GoalError, match="hides all that the encoder sees"):
            masked(goal, dark, crop)


def test_what_is_bright_in_a_file_is_the_mask(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "mask.png"), np.array([[0, 127], [128, 255]], np.uint8))
    np.testing.assert_array_equal(mask_of_file(tmp_path / "mask.png"), [[False, False], [True, True]])
    with pytest.raises(GoalError, match="there is no mask"):
        mask_of_file(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(GoalError, match="mask cannot be read"):
        mask_of_file(tmp_path / "text.png")


def test_distances_have_their_closed_form() -> None:
    goal, weights = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([2.0, 0.0])
    latents = torch.zeros(3, 2, 2)
    latents[:, 1] = 5.0  # a token that does not count
    distance = GoalDistance(0.5)
    torch.testing.assert_close(distance.of_frames(latents, goal, weights), torch.full((3,), 0.5))
    torch.testing.assert_close(distance.of_frames(latents, goal, None), torch.full((3,), (0.5 + 25.0) / 2))
    plan = torch.tensor([[4.0, 2.0, 1.0]])
    torch.testing.assert_close(GoalDistance(0.0).of_plans(plan), torch.tensor([1.0]))
    torch.testing.assert_close(distance.of_plans(plan), torch.tensor([(1.0 + 1.0 + 1.0) / 1.75]))
    torch.testing.assert_close(GoalDistance(1.0).of_plans(plan), torch.tensor([7.0 / 3.0]))
