"""Attacks on an image service that have had an advisory, and that nothing comes of them."""
