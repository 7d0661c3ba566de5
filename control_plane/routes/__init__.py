"""One module per resource of the control plane: its models, its operations, nothing of how they are done."""
