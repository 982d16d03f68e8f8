"""What a machine with one NVIDIA GPU must prove, in steps that can be run alone: python -m bench.gpu."""
