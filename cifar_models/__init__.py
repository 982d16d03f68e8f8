"""What a CIFAR-10 classifier is: labels, data, architectures, checkpoint, bundle. Every other package builds on it."""
