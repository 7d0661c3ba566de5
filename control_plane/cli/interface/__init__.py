"""What other programs are given to call a deployment with."""
