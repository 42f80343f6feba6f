"""What docker/test is made of: the system from its compose files, a client that is not ours, and the count at the end."""
