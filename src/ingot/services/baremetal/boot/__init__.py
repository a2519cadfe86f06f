"""What a machine boots: intent, images, config drive, network data."""
