"""The topics of operators, `admin:*`: the tree, metrics and log of the node, and who else is looking."""
