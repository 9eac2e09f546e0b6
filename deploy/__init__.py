"""What runs the services: the stack on one machine, simulators, sample people."""
