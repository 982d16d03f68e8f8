"""The names under which TensorBoard shows the figures of a run: plain ones, or those of the tutorials."""

Tags = dict[str, tuple[str, ...]]  # of each figure

# What a tutorial does not show is shown under the plain tag.
_PLAIN: Tags = {
    "step_loss": ("step/loss",),
    "step_accuracy": ("step/accuracy",),
    "train_loss": ("epoch/train_loss",),
    "train_accuracy": ("epoch/train_accuracy",),
    "validation_loss": ("epoch/validation_loss",),
    "validation_accuracy": ("epoch/validation_accuracy",),
    "lr": ("epoch/lr",),
}
TAGS: dict[str, Tags] = {
    "plain": _PLAIN,
    "seed000": {
        "step_loss": ("Train_Log/Loss",),
        "step_accuracy": ("Train_Log/Accuracy",),
        "train_loss": ("Episode_Log/Train_Loss",),
        "train_accuracy": ("Episode_Log/Train_Acc",),
        # The tutorial's Validation_Log counts the images validated, and so do the steps of ours.
        "validation_loss": ("Episode_Log/Valid_Loss", "Validation_Log/Valid_Loss"),
        "validation_accuracy": ("Episode_Log/Valid_Acc", "Validation_Log/Valid_Acc"),
        "lr": ("lr",),
        "test_accuracy": ("Test_Log",),  # of training.evaluate
    },
    "seed003": {
        **_PLAIN,
        "step_loss": ("running_loss",),
        "step_accuracy": ("train batch acc",),
        "validation_accuracy": ("validation acc",),  # the tutorial's "test acc" was of the images it chose by
    },
    "seed004": {
        **_PLAIN,
        "train_loss": ("Train Loss", "Train Loss and Valid Loss/Train"),
        "validation_loss": ("Valid Loss", "Train Loss and Valid Loss/Valid"),
        "validation_accuracy": ("Valid Accuracy",),
    },
}


def charts(tutorial: str) -> dict[str, list[object]]:
    """The tutorial's tags that it shows in one chart (its `add_scalars`), as TensorBoard's custom scalars."""
    groups: dict[str, list[str]] = {}
    for tags in TAGS[tutorial].values():
        for tag in tags:
            group, slash, _ = tag.partition("/")
            if slash and group not in ("step", "epoch"):  # the plain ones
                groups.setdefault(group, []).append(tag)
    return {group: ["Multiline", tags] for group, tags in groups.items()}
