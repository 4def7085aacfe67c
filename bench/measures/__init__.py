"""What is measured. Each module has one :class:`bench.measure.Measure`."""
