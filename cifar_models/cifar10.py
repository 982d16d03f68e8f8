"""CIFAR-10 (Krizhevsky 2009): its labels in order, and the statistics of its training set."""

LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGE_SIZE = 32  # pixels, both ways
IMAGE_SHAPE = (IMAGE_SIZE, IMAGE_SIZE, 3)  # rows, columns, RGB

# Per channel, RGB, of pixels scaled to [0, 1].
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
