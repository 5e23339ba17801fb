"""Labelled images: class folders and tables as people have them."""

import unicodedata

import keras
import numpy as np
import pytest
from PIL import Image

from keras_warn.data.image_files import class_numbers
from keras_warn.data.image_files import described
from keras_warn.data.image_files import find_images
from keras_warn.data.image_files import list_images
from keras_warn.data.image_files import split_of


def tree(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    "names, message",
    [
        ([], "holds no folders"),
        (["a.jpg"], "holds no folders"),
        (["wren/a.jpg", "finch/a.txt"], "class folder .*finch holds no images"),
        (["owl/1.png", "wren/a.heic"], r"wren holds no .* holds 1 \*.heic"),
    ],
)
def test_folders_without_images(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        find_images(tree(tmp_path, *names))


@pytest.mark.parametrize(
    "content",
    [
        b"path,label\nbirds/1.jpg,wren\n2.jpg,finch\n",
        b"\xef\xbb\xbfpath,label\r\nbirds/1.jpg,wren\r\n2.jpg,finch\r\n",
        b'label, path, date\nwren, "birds/1.jpg", 3\n\nfinch, 2.jpg,\n',
        b"path,label\nbirds/1.jpg,wren\n{0}/2.jpg,finch\n",
    ],
    ids=["plain", "bom_crlf", "columns_quotes_empty_lines", "absolute"],
)
def test_tables(tmp_path, content):
    path = tmp_path / "folder" / "test.csv"
    path.parent.mkdir()
    path.write_bytes(content.replace(b"{0}", bytes(path.parent)))
    found, _ = find_images(path)
    assert [one.path for one in found] == [
        path.parent / "birds/1.jpg",
        path.parent / "2.jpg",
    ]
    assert [one.label for one in found] == ["wren", "finch"]
    assert "test.csv, line 2" in found[0].source


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "lacks path and label"),
        (b"path,class\n1.jpg,wren\n", r"lacks label.*\['path', 'class'\]"),
        (b"path;label\n1.jpg;wren\n", "lacks path and label"),
        (b"path,label\n", "no lines but"),
        (b"path,label\n1.jpg,wren\n2.jpg\n", "line 3, has no label"),
        (b"path,label\n1.jpg,wren\n ,wren\n", "line 3, has no path"),
        (b"path,label\n1.jpg,\xff\xfe\n", "not UTF-8"),
        (b'path,label\n"1.jpg"x,wren\n', "line 2, is not CSV"),
    ],
)
def test_errors_of_tables(tmp_path, content, message):
    path = tmp_path / "test.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        find_images(path)
    assert str(path) in str(caught.value)


def test_an_image_is_no_table(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (3, 5)).save(path)
    with pytest.raises(ValueError, match="a.jpg must be a folder of class"):
        find_images(path)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        find_images(tmp_path / "nowhere")


def labelled(tmp_path, *labels):
    path = tmp_path / "test.csv"
    lines = [f"{i}.jpg,{label}" for i, label in enumerate(labels)]
    path.write_text("\n".join(["path,label", *lines]))
    return find_images(path)[0]


def test_labels_are_names_or_numbers(tmp_path):
    found = labelled(tmp_path, "2", "0", "2")
    numbers, names = class_numbers(found, 5)
    assert numbers.tolist() == [2, 0, 2] and names is None
    names = ["wren", "finch", "owl"]
    numbers, same = class_numbers(labelled(tmp_path, "owl", "0"), 3, names)
    assert numbers.tolist() == [2, 0] and same is names
    # A name that is a number, too, is a name.
    numbers, _ = class_numbers(labelled(tmp_path, "1", "2"), 2, ["2", "1"])
    assert numbers.tolist() == [1, 0]


@pytest.mark.parametrize(
    "labels, names, message",
    [
        (["0", "3"], None, r"'3' of .*1.jpg \(.*line 3\) .* 0 to 2"),
        (["-1"], None, r"1 different label \("),
        (["wren", "owl"], None, r"2 different labels \('owl', 'wren'\) for"),
        (["wren", "wrn"], ["wren", "finch", "owl"], "'wrn' of .*1.jpg.*names"),
        (["owl"], ["owl", "owl", "wren"], "name of 2 classes"),
    ],
)
def test_labels_outside_the_classes(tmp_path, labels, names, message):
    with pytest.raises(ValueError, match=message):
        class_numbers(labelled(tmp_path, *labels), 3, names)


def test_folders_are_numbered_as_keras_numbers_them(tmp_path):
    """0, 1, 10, 11, 2: by alphabet, also where all names are numbers."""
    for i in range(12):
        (tmp_path / str(i)).mkdir()
        Image.new("RGB", (3, 5)).save(tmp_path / f"{i}/a.png")
    found, _ = find_images(tmp_path)
    numbers, names = class_numbers(found, 12, folders=True)
    expected = keras.utils.image_dataset_from_directory(
        tmp_path, shuffle=False, verbose=0
    )
    assert names == expected.class_names
    assert names[2] == found[2].path.parent.name == "10"
    keras_numbers = np.concatenate([y for _, y in expected])
    assert numbers.tolist() == keras_numbers.tolist()
    # Either order could be meant beside other names; in a table, numbers are.
    birds = [f"bird {i}" for i in range(12)]
    with pytest.raises(ValueError, match="0, 1, 10, .*bird 0, bird 1"):
        class_numbers(found, 12, birds, folders=True)
    assert class_numbers(found, 12, birds)[0][2] == 10
    few = [one for one in found if int(one.label) < 9]
    assert class_numbers(few, 12, birds, folders=True)[0][2] == 2


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_the_same_in_all_forms_of_unicode(tmp_path, forms):
    label, name = (unicodedata.normalize(form, "Kakapō") for form in forms)
    found = labelled(tmp_path, label, "wren", "wren")
    numbers, _ = class_numbers(found, 3, ["owl", name, "wren"])
    assert numbers.tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    "split, names",
    [
        ("train", ["Training", "TRAIN", "train_images"]),
        ("test", ["seg_test", "Test-Set"]),
        ("validation", ["val2017", "valid"]),
        (None, ["trainval", "terrain"]),
    ],
)
def test_splits_in_any_spelling(tmp_path, split, names):
    for name in names:
        assert split_of(name) == split
        found, _ = find_images(tree(tmp_path / name, f"{name}/wren/1.png"))
        label = name if split is None else "wren"
        assert [(one.label, one.split) for one in found] == [(label, split)]


def test_folders_that_are_no_classes(tmp_path):
    names = [f"{part}/{bird}/1.png" for part in "AB" for bird in ("owl", "tit")]
    with pytest.raises(ValueError, match="folders A, B hold .*: owl, tit"):
        find_images(tree(tmp_path, *names))
    # One folder of the same name in each is how Tiny ImageNet is stored.
    tree(tmp_path / "tiny", "n01/images/1.png", "n02/images/1.png")
    assert len(find_images(tmp_path / "tiny")[0]) == 2
    tree(tmp_path / "twice", "val/a/1.png", "valid/a/1.png")
    with pytest.raises(ValueError, match="several for one: val, valid"):
        find_images(tmp_path / "twice")


def test_what_is_skipped_is_counted_and_named(tmp_path):
    data = tree(tmp_path / "data", "readme.md", "loose.jpg", ".cache/x.png")
    tree(data, "@eaDir/x.png", "__MACOSX/wren/._a.png", "wren/a.png")
    tree(data, "wren/b.heic", "wren/c.heic", "wren/.DS_Store")
    tree(data, "wren/@eaDir/a.png", "wren/nested/d.png")
    # Links are followed, but not in a circle.
    (data / "owl").symlink_to(tree(tmp_path / "owl", "e.png"))
    (data / "wren/back").symlink_to(data)
    (data / "again").symlink_to(".")
    found, skipped = find_images(data)
    assert [one.path.name for one in found] == ["e.png", "a.png", "d.png"]
    assert skipped == {
        "hidden": 2,
        "@eaDir": 2,
        "__MACOSX": 1,
        "*.md": 1,
        "*.heic": 2,
        "image outside of folders": 1,
        "link to a folder that holds it": 2,
    }
    paths, others = list_images(data / "wren")
    assert [path.name for path in paths] == ["a.png", "d.png"]
    assert "2 *.heic" in described(others)


def test_two_links_in_a_circle(tmp_path):
    tree(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/b").symlink_to(tmp_path / "b")
    (tmp_path / "b/a").symlink_to(tmp_path / "a")
    paths, skipped = list_images(tmp_path)
    assert [path.name for path in paths] == ["1.png", "2.png", "2.png", "1.png"]
    assert skipped == {"link to a folder that holds it": 2}
