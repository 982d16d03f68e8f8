"""The recipes that ship. Those of the tutorials ("seeds") do what the tutorial says, less the defects named here.

Mended in all of them: the images that choose the epoch are cut from the training set (the tutorials 000, 001 and 003
chose on the test set), everything is seeded, the whole state is saved, and an epoch's loss is the mean of its steps.
They compute in float32, as the tutorials did, and like them convolve in TF32 on CUDA, which is torch's default. Images
that do not fill a last batch wait for the next epoch's order: of 45,000, 8 in batches of 32 and 72 in batches of 128.
"""

from dataclasses import replace

from training.recipe import Recipe

# AlexNet and ResNet with TensorBoard. Images in [0, 1], each shown three times an epoch (as it is, upside down,
# mirrored), Adam at 1e-3, a tenth of it from the 12th epoch on.
# Mended: ResNet50 and deeper have ten outputs, not 1000; a BasicBlock projects when only its stride changes;
# TensorBoard's steps count the images shown, so that epochs do not overlap, Train_Log has each step's own figures and
# Validation_Log the whole validation's, not running means, and the learning rate is the epoch's own; Test_Log comes
# from training.evaluate.
SEED_000 = Recipe(
    model="alexnet",
    epochs=15,
    batch_size=500,
    optimizer="adam",
    lr=1e-3,
    schedule="step",
    step_epoch=11,
    tripled=True,
    normalisation="none",
    tensorboard="seed000",
    precision="fp32",
)

# PyTorch's first tutorial, rewritten. Levels in [-1, 1], batches of 4, SGD with momentum.
# Mended: the optimizer gets the parameters of the model that is trained (after its second cell it got another's, and
# the accuracy stayed at 10 %); weights are loaded strictly when they are loaded; the loss is divided by the batches.
SEED_001 = Recipe(
    model="lenet_120",
    epochs=5,
    batch_size=4,
    lr=1e-3,
    nesterov=False,
    schedule="constant",
    normalisation="half",
    precision="fp32",
)

# "Neural Networks", and its exercise. The tutorial has no data and no training: one step of SGD at 0.01 shows the idea.
# Here it goes on for five epochs. Mended: images of 32x32 fit both networks, as the first takes their luma and the
# second enlarges them to 224x224 on the device; AlexNet is built with the number of classes. It has a momentum of 0.9,
# without which it learns next to nothing in five epochs.
SEED_002 = Recipe(
    model="lenet_grey",
    epochs=5,
    batch_size=32,
    lr=0.01,
    momentum=0.0,
    nesterov=False,
    schedule="constant",
    precision="fp32",
)

# A university project: the first tutorial's network enlarged step by step. Levels in [-1, 1], batches of 128.
# Mended: a folder for each run instead of one file that every run overwrites.
# Changed: the batch-norm network has batches of 32. The tutorial begins with 4 and asks for 128 to be fast, which
# leaves this one far from done after its ten epochs (docs/training.md).
SEED_003 = Recipe(
    model="lenet",
    epochs=10,
    batch_size=128,
    lr=1e-3,
    nesterov=False,
    schedule="constant",
    normalisation="half",
    tensorboard="seed003",
    precision="fp32",
)

# AlexNet with batch norm. Images in [0, 1], 20 % held out, Adam, a tenth of the learning rate after more than four
# epochs without a lower validation loss.
# Mended: every dropout is off outside training (two of the tutorial's stayed on, in its test and in every export); it
# stops after exactly seven epochs without a lower loss, not eight; checkpoints hold what a resumed run needs.
SEED_004 = Recipe(
    model="alexnet_bn",
    epochs=55,
    batch_size=16,
    optimizer="adam",
    lr=1e-3,
    schedule="plateau",
    plateau_patience=4,
    early_stop=7,
    normalisation="none",
    validation=0.2,
    seed=42,
    tensorboard="seed004",
    precision="fp32",
)

# Ours. Muon, label smoothing and alternating flip as in airbench (Jordan 2024); what each gives: docs/experiments.md.
CIFARNET = Recipe(
    model="cifarnet",
    epochs=30,
    batch_size=500,
    optimizer="muon",
    lr=0.05,
    filter_lr=0.03,
    momentum=0.85,
    weight_decay=5e-4,
    label_smoothing=0.1,
    flip="alternating",
    crop=4,
    cutout=8,
    validation=0.05,
)

# CutMix instead of cutout and label smoothing: for runs that are long enough to learn by heart.
LONG = replace(CIFARNET, label_smoothing=0.0, cutout=0, cutmix=0.5)

# The teacher's answers alone, to mixtures alone, at the temperature at which the answers will be given (Beyer et al.
# 2022): what it says of mixtures it cannot know by heart.
DISTILLED = replace(
    LONG,
    epochs=300,
    cutmix=1.0,
    teachers="runs/resnet18/best.pt",
    teacher_weight=1.0,
    teacher_temperature=1.0,
)

RECIPES: dict[str, Recipe] = {
    "cifarnet": CIFARNET,
    "alexnet_bn": replace(LONG, model="alexnet_bn", epochs=100),
    "resnet20": replace(CIFARNET, model="resnet20", epochs=100, label_smoothing=0.0, cutout=0),
    "resnet18": replace(LONG, model="resnet18", epochs=225),
    "cifarnet-distilled": DISTILLED,
    "seed000-alexnet": SEED_000,
    "seed000-resnet18": replace(SEED_000, model="resnet18_imagenet_stem"),
    "seed000-resnet34": replace(SEED_000, model="resnet34_imagenet_stem"),
    "seed000-resnet50": replace(SEED_000, model="resnet50_imagenet_stem"),
    "seed000-resnet101": replace(SEED_000, model="resnet101_imagenet_stem"),
    "seed000-resnet152": replace(SEED_000, model="resnet152_imagenet_stem"),
    "seed001": SEED_001,
    "seed002-lenet": SEED_002,
    "seed002-alexnet": replace(SEED_002, model="alexnet_224", momentum=0.9),
    "seed003-lenet": SEED_003,
    "seed003-batchnorm": replace(SEED_003, model="batchnorm_net", batch_size=32),
    "seed003-vgg11": replace(SEED_003, model="vgg11"),
    "seed004": SEED_004,
}
