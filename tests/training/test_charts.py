"""The charts of a report: labels of any number and in any script."""

import numpy as np

from training.charts import confusion_chart


def test_a_chart_of_more_labels_than_can_be_read_has_no_names() -> None:
    names = [f"label {number}" for number in range(100)]
    assert names[19] in confusion_chart(np.eye(20), names[:20])
    assert not any(f">{text}<" in confusion_chart(np.eye(100), names) for text in ("label 0", "label 99", "100.0"))


def test_labels_with_dollar_signs_are_written_as_they_are() -> None:
    svg = confusion_chart(np.eye(2), ["$5_to_$10", "$x$"])
    assert "$5_to_$10" in svg
    assert "$x$" in svg


def test_labels_of_any_script_are_written_as_they_are() -> None:
    assert "猫" in confusion_chart(np.eye(2), ["猫", "犬"])  # which the font that lays the chart out does not have
