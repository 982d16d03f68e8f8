"""Our figures and others', measured in one run."""
