"""The services: what each does alone. They share `kit` and speak only through the bus."""
