"""The three services and what starts them."""
