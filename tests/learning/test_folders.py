"""Folders of images with groups, generated in the two layouts."""

import numpy as np
import pandas as pd
import pytest

from scfe_sklearn.learning import load_group_images

Image = pytest.importorskip("PIL.Image")


def picture(k):
    return np.full((6, 5, 3), k, dtype=np.uint8)


@pytest.fixture
def waterbirds(tmp_path):
    rows = []
    for k in range(24):
        label, place, split = k % 2, k // 2 % 2, k // 4 % 3
        name = f"{label:03d}.bird/{k}.png"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture(10 * k)).save(tmp_path / name)
        rows.append((k, name, label, split, place))
    table = pd.DataFrame(rows, columns=["img_id", "img_filename", "y", "split", "place"])
    table.to_csv(tmp_path / "metadata.csv", index=False)
    return tmp_path, table


@pytest.mark.parametrize(("split", "number"), [("train", 0), ("val", 1), ("test", 2)])
def test_a_metadata_file_is_read(waterbirds, split, number):
    folder, table = waterbirds
    data = load_group_images(folder, split, size=(3, 4))
    own = table[table["split"] == number]
    assert data.images.shape == (8, 3, 3, 4) and data.images.dtype == np.float32
    assert data.target.tolist() == own["y"].tolist()
    assert data.attribute.tolist() == own["place"].tolist()
    expected = np.array([10 * k for k in own["img_id"]]) / 255
    np.testing.assert_allclose(data.images.mean(axis=(1, 2, 3)), expected, atol=1e-6)


def test_other_names_of_columns_and_splits_will_do(waterbirds):
    folder, table = waterbirds
    words = table["split"].map({0: "train", 1: "val", 2: "test"})
    names = {"img_filename": "filename", "y": "label", "place": "spurious"}
    table.assign(split=words).rename(columns=names).to_csv(folder / "metadata.csv", index=False)
    assert load_group_images(folder, "val").target.tolist() == [0, 1] * 4


def test_folders_of_names_are_read(tmp_path):
    for k, (label, place) in enumerate(
        [("big", "indoor"), ("big", "outdoor"), ("small", "indoor")]
    ):
        path = tmp_path / "test" / label / place
        path.mkdir(parents=True)
        for copy in range(2):
            Image.fromarray(picture(k)).save(path / f"{copy}.png")
        (path / "notes.txt").write_text("no image")
    data = load_group_images(tmp_path, "test", size=(2, 2))
    assert data.target_names == ["big", "small"] and data.attribute_names == ["indoor", "outdoor"]
    assert data.target.tolist() == [0, 0, 0, 0, 1, 1]
    assert data.attribute.tolist() == [0, 0, 1, 1, 0, 0]


def test_what_is_missing_is_named(waterbirds, tmp_path_factory):
    folder, table = waterbirds
    with pytest.raises(ValueError, match=r"The 'split' parameter of load_group_images"):
        load_group_images(folder, "all")
    table.drop(columns="place").to_csv(folder / "metadata.csv", index=False)
    with pytest.raises(ValueError, match="a column for the attribute"):
        load_group_images(folder)
    table[table["split"] > 0].to_csv(folder / "metadata.csv", index=False)
    with pytest.raises(ValueError, match="must hold images of 'train'"):
        load_group_images(folder)
    with pytest.raises(FileNotFoundError, match="a folder for each label"):
        load_group_images(tmp_path_factory.mktemp("empty"))
