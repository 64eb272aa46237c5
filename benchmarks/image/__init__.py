"""The image: built on a machine that reaches no registry of images, started as a cluster starts it, and judged."""
