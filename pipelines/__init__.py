"""The composition root: Beam's graph, the options, the `foreshock` command."""
