"""Questions that programs ask in words, and their answers out of what is published."""
