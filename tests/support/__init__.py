"""What tests share besides fixtures: clients, readers, workers, and stand-ins for services."""
