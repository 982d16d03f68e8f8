"""Classes of one's own, three of them, by docs/your-own-classes.md: from drawings to a server that knows them."""

from pathlib import Path

from walks import OWN_CLASSES, follow

from cifar_models.bundle import read_manifest


def test_labels_of_one_s_own_go_the_whole_way(tmp_path: Path) -> None:
    follow(OWN_CLASSES, tmp_path, tmp_path / "none")
    assert read_manifest(tmp_path / "models" / "shapes").labels == ["circle", "square", "triangle"]
