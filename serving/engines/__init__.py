"""Networks that compute: one for each runtime and device, and the bundles that they load."""
