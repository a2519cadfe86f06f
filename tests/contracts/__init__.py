"""What every declared resource keeps, whatever service it belongs to; see `resource`."""
