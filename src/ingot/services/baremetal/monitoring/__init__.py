"""What controllers tell of idle machines: power, health, sensors, events; and when each is asked."""
